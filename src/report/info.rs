//! The report of `kimage info`: the layers of files, for people and for programs.

use crate::finding::Finding;
use crate::inspect::{Facts, Layer, LayerId, Opened, Part, Space};
use crate::layout::Region;
use serde::Serialize;

/// What is known of one file.
#[derive(Debug, Default, Serialize)]
pub struct FileInfo {
    /// Its path, as it was given.
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    layers: Vec<LayerInfo>,
    parts: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct LayerInfo {
    id: LayerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<LayerId>,
    depth: u32,
    name: String,
    path: String,
    format: &'static str,
    title: String,
    found_by: crate::inspect::FoundBy,
    /// The layer whose decompressed contents the offset counts in; none for the file.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    inside: Option<LayerId>,
    offset: u64,
    size: u64,
    facts: Facts,
    regions: Vec<Region>,
    findings: Vec<Finding>,
}

impl FileInfo {
    /// What was found in the file called `name`, or why it could not be opened for what it is.
    pub fn new(name: &str, opened: Result<&Opened<'_>, String>) -> FileInfo {
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return FileInfo { file: name.to_owned(), error: Some(error), ..FileInfo::default() },
        };
        let layers = opened.layers();
        FileInfo {
            file: name.to_owned(),
            size: layers.first().map(Layer::size),
            error: None,
            layers: layers.iter().map(|layer| layer_info(opened, layer)).collect(),
            parts: opened.parts().to_vec(),
        }
    }
}

fn layer_info(opened: &Opened<'_>, layer: &Layer) -> LayerInfo {
    LayerInfo {
        id: layer.id,
        parent: layer.parent,
        depth: layer.depth,
        name: layer.name.clone(),
        path: opened.path(layer.id),
        format: layer.kind.id(),
        title: layer.title.clone(),
        found_by: layer.found_by,
        inside: match layer.space {
            Space::File => None,
            Space::Inside(id) => Some(id),
        },
        offset: layer.at.start,
        size: layer.size(),
        facts: layer.facts.clone(),
        regions: layer.regions.clone(),
        findings: layer.findings.clone(),
    }
}
