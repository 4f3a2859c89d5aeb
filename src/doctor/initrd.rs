//! The files that the kernel has before any disk: those built into it, and of the initial RAM disks what it unpacks of them.
//!
//! Source: init/initramfs.c, Linux 7.2 (`do_name`, `clean_path`, `maybe_link`), usr/default_cpio_list.

use crate::bytes::slice;
use crate::codec::Codec;
use crate::finding::Finding;
use crate::format::Format;
use crate::format::cpio::{CHARACTER, Cpio, FILE, FOLDER, LINK, TYPE};
use crate::inspect::rules::{CPIO_DAMAGED, DAMAGED, INITRAMFS_JUNK, LIMIT, STREAM_DAMAGED};
use crate::inspect::{Kind, Layer, Opened, Space};
use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, HashMap, HashSet};

/// `PATH_MAX`: the kernel drops what has a longer name, and links that lead further.
const PATH_MAX: usize = 4096;
/// So many steps through folders are gone; an archive that takes more was made for that.
const STEPS: u64 = 20_000_000;

/// errno.
pub(super) const ENOENT: i32 = 2;
const ENOTDIR: i32 = 20;
const ELOOP: i32 = 40;

/// A file, folder, link or device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) mode: u32,
    pub(super) data: &'a [u8],
}

impl Node<'_> {
    /// `S_IFMT` of its mode.
    pub(super) fn kind(&self) -> u32 {
        self.mode & TYPE
    }

    pub(super) fn is_executable(&self) -> bool {
        self.mode & 0o111 != 0
    }
}

/// The files.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    nodes: BTreeMap<Vec<u8>, Node<'a>>,
    /// Codecs of the streams that must be unpacked, each once.
    pub(super) codecs: Vec<Codec>,
    /// What ends the unpacking, and whether the kernel says so: it is silent about an archive that is cut off.
    pub(super) fault: Option<(Finding, bool)>,
    /// Files of folders that are not there.
    pub(super) lost: Vec<String>,
    /// Not all that the kernel unpacks could be read.
    pub(super) is_partial: bool,
    steps: Cell<u64>,
    modules: OnceCell<HashSet<String>>,
}

impl<'a> Tree<'a> {
    /// As it is before anything is unpacked.
    pub(super) fn new() -> Tree<'a> {
        let mut tree = Tree::default();
        tree.put(b"", FOLDER | 0o755, &[]);
        tree
    }

    /// What is unpacked where a kernel has no archive of its own, or where that was not found.
    pub(super) fn add_default(&mut self) {
        self.put(b"dev", FOLDER | 0o755, &[]);
        self.put(b"dev/console", CHARACTER | 0o600, &[]);
        self.put(b"root", FOLDER | 0o700, &[]);
    }

    /// Unpacks one file of a boot loader, or what is built in, up to the first fault.
    pub(super) fn unpack(&mut self, opened: &'a Opened<'_>) {
        if self.fault.is_some() {
            return;
        }
        let place = |layer: &Layer| if is_further(layer) { layer.in_parent.start } else { 0 };
        // Nothing behind this is unpacked.
        let mut end = u64::MAX;
        for layer in opened.layers() {
            for finding in &layer.findings {
                let stop = match finding.rule {
                    rule if rule == INITRAMFS_JUNK.id => finding.offset.unwrap_or(place(layer) + 1),
                    rule if [CPIO_DAMAGED.id, DAMAGED.id, STREAM_DAMAGED.id].contains(&rule) => place(layer) + 1,
                    rule if rule == LIMIT.id => {
                        self.is_partial = true;
                        continue;
                    }
                    _ => continue,
                };
                // Of the file where it ends a part is there.
                self.is_partial |= finding.rule != INITRAMFS_JUNK.id;
                if stop < end {
                    end = stop;
                    self.fault =
                        Some((finding.clone(), [INITRAMFS_JUNK.id, STREAM_DAMAGED.id].contains(&finding.rule)));
                }
            }
        }
        for layer in opened.layers().iter().filter(|layer| layer.kind == Kind::Known(Format::Cpio)) {
            let stream = match layer.space {
                Space::Inside(around) => opened.layer(around),
                Space::File => None,
            };
            if place(stream.unwrap_or(layer)) >= end {
                continue;
            }
            match stream.map(|stream| stream.kind) {
                Some(Kind::Known(Format::Compressed(Codec::Lz4Frame))) => {
                    let message = "a stream in lz4's newer frame format, which the kernel does not read";
                    self.fault = Some((INITRAMFS_JUNK.finding(message).with_help("compress it by lz4 -l"), true));
                    return;
                }
                Some(Kind::Known(Format::Compressed(codec))) if !self.codecs.contains(&codec) => {
                    self.codecs.push(codec)
                }
                _ => {}
            }
            self.add_archive(opened.bytes(layer));
        }
    }

    /// What is no archive at all, or of cpio's old format.
    pub(super) fn refuse(&mut self, is_old: bool) {
        if self.fault.is_none() {
            let message = if is_old {
                "the archive is of cpio's old format"
            } else {
                "this is no cpio archive, compressed or not"
            };
            self.fault = Some((INITRAMFS_JUNK.finding(message).with_help("make it with cpio -H newc"), true));
        }
    }

    fn add_archive(&mut self, bytes: &'a [u8]) {
        let Ok(archive) = Cpio::parse(bytes) else { return };
        // Those of the names of a file that were made.
        let mut linked: HashMap<[u32; 3], Vec<Vec<u8>>> = HashMap::new();
        for entry in archive.entries().map_while(Result::ok) {
            let mut data = slice(bytes, entry.data_at, entry.size).unwrap_or_default();
            // Some archives have the NUL of a link's path in it.
            if entry.mode & TYPE == LINK {
                data = data.split(|byte| *byte == 0).next().unwrap_or_default();
            }
            if entry.name.len() >= PATH_MAX || entry.mode & TYPE == LINK && data.len() > PATH_MAX {
                continue;
            }
            let inode = entry.inode.filter(|_| entry.mode & TYPE == FILE);
            let Some(names) = inode.and_then(|inode| linked.get_mut(&inode)) else {
                let made = self.put(entry.name, entry.mode, data);
                if let Some(inode) = inode {
                    linked.insert(inode, Vec::from_iter(made));
                }
                continue;
            };
            // Where the first name was not made, or this one is not, nobody writes the data.
            let Some(first) = names.first().and_then(|name| self.nodes.get(name)) else {
                self.lost.push(String::from_utf8_lossy(entry.name).into_owned());
                continue;
            };
            let whole = if data.is_empty() { first.data } else { data };
            let Some(made) = self.put(entry.name, entry.mode, whole) else { continue };
            if !data.is_empty() {
                for name in &*names {
                    self.nodes.insert(name.clone(), Node { mode: entry.mode, data });
                }
                names.truncate(1);
            }
            names.push(made);
        }
        self.is_partial |= self.steps.get() > STEPS;
    }

    /// As the kernel makes it: in a folder that is there, in place of what has the name. Gives its path.
    fn put(&mut self, name: &[u8], mode: u32, data: &'a [u8]) -> Option<Vec<u8>> {
        let name = clean(name);
        let (folder, last) = match name.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default()),
            None => (&[][..], &name[..]),
        };
        let path = if name.is_empty() {
            Vec::new()
        } else {
            match self.resolve(folder, 0) {
                Ok(folder) if self.nodes.get(&folder).is_some_and(|node| node.kind() == FOLDER) => join(&folder, last),
                _ => {
                    self.lost.push(String::from_utf8_lossy(&name).into_owned());
                    return None;
                }
            }
        };
        self.nodes.insert(path.clone(), Node { mode, data });
        Some(path)
    }

    /// The file of that path, links followed; else the number of the error.
    pub(super) fn find(&self, path: &[u8]) -> Result<&Node<'a>, i32> {
        let path = self.resolve(&clean(path), 0)?;
        self.nodes.get(&path).ok_or(ENOENT)
    }

    /// The path without links.
    fn resolve(&self, path: &[u8], depth: u32) -> Result<Vec<u8>, i32> {
        const MOST: u32 = 40;
        let mut found = Vec::new();
        let mut parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        while let Some(part) = parts.next() {
            self.steps.set(self.steps.get() + 1);
            if self.steps.get() > STEPS {
                return Err(ELOOP);
            }
            if part == b".." {
                let end = found.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                found.truncate(end);
                continue;
            }
            let here = join(&found, part);
            let node = self.nodes.get(&here).ok_or(ENOENT)?;
            if node.kind() == LINK {
                if depth >= MOST {
                    return Err(ELOOP);
                }
                let start = if node.data.starts_with(b"/") { Vec::new() } else { found };
                let mut path = join(&start, node.data);
                parts.for_each(|part| path = join(&path, part));
                return self.resolve(&path, depth + 1);
            }
            found = here;
            if node.kind() != FOLDER && parts.clone().next().is_some() {
                return Err(ENOTDIR);
            }
        }
        Ok(found)
    }

    /// The files of each name, in whatever folder: where a loader looks its files do not all tell.
    pub(super) fn by_name(&self) -> HashMap<&[u8], &Node<'a>> {
        let files = self.nodes.keys().filter_map(|path| Some((last(path), self.find(path).ok()?)));
        files.collect()
    }

    /// Is the module there? Its file may have `-` for `_` and be compressed.
    pub(super) fn has_module(&self, module: &str) -> bool {
        let module_of = |path: &Vec<u8>| {
            let name = String::from_utf8_lossy(last(path)).into_owned();
            let (name, rest) = name.split_once(".ko")?;
            matches!(rest, "" | ".gz" | ".xz" | ".zst" | ".bz2" | ".lzma").then(|| name.replace('-', "_"))
        };
        let modules = self.modules.get_or_init(|| self.nodes.keys().filter_map(module_of).collect());
        modules.contains(&module.replace('-', "_"))
    }
}

/// Is the layer a segment of a chain that is not the first?
fn is_further(layer: &Layer) -> bool {
    layer.name.split('[').next() == Some("next")
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// A path without `/` at its ends, doubled ones and `.`.
fn clean(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}
