//! What the data file says: options, consoles, root devices, file systems, targets, messages.

use crate::finding::Severity;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The file that comes with kimage.
const SHIPPED: &str = include_str!("targets.toml");

/// A data file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Data {
    pub(super) option: BTreeMap<String, Driver>,
    /// The options of a console, by the name of its device without the number.
    pub(super) console: BTreeMap<String, Vec<String>>,
    /// By how the name in `/dev` begins.
    pub(super) root: BTreeMap<String, RootDevice>,
    pub(super) filesystem: BTreeMap<String, Vec<String>>,
    pub(super) target: Vec<Target>,
    pub(super) log: Vec<Message>,
}

/// An option of the kernel.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Driver {
    /// Its module's file without `.ko`; the option in small letters where nothing stands here.
    module: Option<String>,
    /// Functions of which each shows that it is built in.
    pub(super) symbols: Vec<String>,
    /// The option that it is a part of: it is a module where that is one.
    pub(super) of: Option<String>,
    /// Before there was the option, kernels had it.
    pub(super) older: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RootDevice {
    /// Of each list one.
    pub(super) needs: Vec<Vec<String>>,
    /// It shows up after the kernel looks for it.
    #[serde(default)]
    pub(super) late: bool,
    /// It hangs on a controller that has a driver of its own.
    #[serde(default)]
    pub(super) controller: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) about: String,
    /// CPUs; none stands for any.
    #[serde(default)]
    pub(super) arch: Vec<String>,
    /// Kinds of files; none stands for any.
    #[serde(default)]
    pub(super) formats: Vec<String>,
    #[serde(default)]
    pub(super) wants: String,
    #[serde(default)]
    pub(super) need: Vec<Need>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Need {
    pub(super) what: String,
    pub(super) any: Vec<String>,
    pub(super) level: Level,
}

/// What it is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Must,
    Should,
    /// To mount the root file system.
    Root,
    Console,
}

/// A message of the kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    text: Vec<String>,
    pub(super) cause: String,
    pub(super) help: String,
    level: Option<String>,
}

impl Message {
    /// Has the line all pieces, one behind the other?
    pub(super) fn is_in(&self, line: &str) -> bool {
        let mut rest = Some(line);
        for piece in &self.text {
            rest = rest.and_then(|rest| rest.split_once(piece.as_str())).map(|(_, behind)| behind);
        }
        rest.is_some()
    }

    pub(super) fn severity(&self) -> Severity {
        if self.level.as_deref() == Some("warning") { Severity::Warning } else { Severity::Error }
    }
}

impl Data {
    /// The file that comes with kimage, and those given, whose targets are all taken; of the others those of these `names`.
    pub(super) fn read(names: &[&str], files: &[&str]) -> Result<Data, String> {
        let mut data = parse(SHIPPED)?;
        let known: Vec<String> =
            data.target.iter().map(|target| format!("{} ({})", target.name, target.about)).collect();
        for name in names {
            if !data.target.iter().any(|target| target.name == *name) {
                return Err(format!("{name}: no such target; there are {}", known.join(", ")));
            }
        }
        data.target.retain(|target| names.contains(&&*target.name));
        for file in files {
            let more = parse(file)?;
            data.option.extend(more.option);
            data.console.extend(more.console);
            data.root.extend(more.root);
            data.filesystem.extend(more.filesystem);
            data.target.extend(more.target);
            data.log.splice(0..0, more.log);
        }
        Ok(data)
    }

    /// The file of an option's module, without `.ko`.
    pub(super) fn module(&self, option: &str) -> String {
        let named = self.option.get(option).and_then(|driver| driver.module.clone());
        named.unwrap_or_else(|| option.to_ascii_lowercase())
    }
}

fn parse(text: &str) -> Result<Data, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count() + 1, error.message())
    })
}
