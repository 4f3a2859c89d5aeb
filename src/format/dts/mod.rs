//! Device tree source: the text that dtc compiles, as far as image tree sources (`.its`) use it.
//!
//! ```text
//! text > parse > Source ─ files() > the caller opens them ─ tree(files) > fdt::Node
//! ```
//!
//! The language is dtc's, byte for byte: `/dts-v1/`, `/memreserve/`, nodes, labels, references to nodes (by label or path,
//! in cells and as paths), overriding and deleting, `/omit-if-no-ref/`, cells with expressions and `/bits/`, byte strings,
//! strings, `/incbin/` with offset and length, `/include/` and the line marks of a C preprocessor. What dtc calls an error of
//! the tree (names, labels and phandles that are there twice or wrong) is one here. A `/plugin/` gets its fragments,
//! `__fixups__` and `__local_fixups__`, and no `__symbols__`: those dtc writes with `-@` only, which mkimage does not give.
//!
//! A root node that stays deleted is refused: of it dtc makes a blob without any node, which mkimage refuses. Of an `/incbin/` of
//! more bytes than the file has, what is there is taken, as by dtc, which does not say so: [`Resolved::findings`] does.
//!
//! Source: Devicetree Specification 0.4, appendix A, and the behaviour of dtc 1.6.1, which `tests/format/its.rs` and
//! `tests/format/its_dtc.rs` compare with; from dtc 1.7 the references `&{label/path}`.

mod check;
mod expr;
mod parse;
mod plugin;
mod resolve;
mod scan;
mod tree;

pub use resolve::Resolved;

use crate::finding::rules;
use miette::Diagnostic;
use std::borrow::Cow;

rules! {
    /// The rules of sources.
    pub(crate) RULES:
    SHORT = "dts.incbin", Warning, "a part of a file (/incbin/)",
        "the value has fewer bytes than the source asks for",
        "change offset and length, or give the whole file";
}

/// Gets an included text: see [`Source::parse`].
pub type Include<'i> = dyn FnMut(&str, &str) -> std::io::Result<(String, Vec<u8>)> + 'i;

/// A source that was read but for the files that it includes the bytes of.
#[derive(Debug)]
pub struct Source {
    tree: tree::SourceTree,
    reservations: Vec<crate::format::fdt::Reservation>,
    files: Vec<File>,
    /// The text files it consists of, the first that which was given.
    texts: Vec<String>,
    /// It is an overlay (`/plugin/`).
    plugin: bool,
}

/// A file whose bytes the source wants (`/incbin/`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, as the source has it.
    pub name: String,
    /// The text file that names it: the name is relative to that one's folder.
    pub from: String,
    /// Where it is named first: the line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
}

impl Source {
    /// Reads `text`, which is called `name`.
    ///
    /// `include` gets the text of a file that `/include/` names: its name, and that of the file that names it. It returns
    /// the text and the name that further names are relative to.
    ///
    /// # Errors
    /// [`Error`] with file, line and column.
    pub fn parse(name: &str, text: &[u8], include: &mut Include<'_>) -> Result<Source, Error> {
        parse::Parser::new(name, text, include).source()
    }

    /// The files whose bytes [`Source::tree`] wants, each once.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The tree, with the bytes of [`Source::files`] in the same order.
    ///
    /// # Errors
    /// [`Error`] where a reference leads nowhere, or a file has not the bytes that are asked for.
    pub(crate) fn tree<'a>(&self, files: &[&'a [u8]]) -> Result<Resolved<'a>, Error> {
        let mut resolver = resolve::Resolver::new(self, files);
        check::check(&mut resolver)?;
        resolver.resolved()
    }
}

/// The source cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Error {
    /// The text file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// What was found and what was wanted.
    pub message: String,
    /// What to do next; may be empty.
    #[help]
    pub help: Cow<'static, str>,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    /// Which of [`Source::texts`].
    text: usize,
    line: usize,
    column: usize,
}

impl Place {
    fn error(self, texts: &[String], message: impl Into<String>, help: impl Into<Cow<'static, str>>) -> Error {
        let file = texts.get(self.text).cloned().unwrap_or_default();
        Error { file, line: self.line, column: self.column, message: message.into(), help: help.into() }
    }
}

/// The value of a property.
#[derive(Debug, Default)]
struct SourceValue {
    parts: Vec<(Place, Part)>,
    /// Labels of places in it.
    labels: Vec<tree::Label>,
}

/// A part of a property's value.
#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    /// Bytes of a file: which of [`Source::files`], from where, how many.
    File(usize, u64, Option<u64>),
    /// The phandle of a node, one cell.
    Phandle(Reference),
    /// The path of a node, a string.
    Path(Reference),
}

/// A label, a path from the root, or a label and the path from there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference(String);

impl Reference {
    /// A path from the root.
    fn is_path(&self) -> bool {
        self.0.starts_with('/')
    }

    fn is_label(&self) -> bool {
        self.0.bytes().all(scan::is_label)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_label() {
            true => write!(f, "&{}", self.0),
            false => write!(f, "&{{{}}}", self.0),
        }
    }
}
