//! `fit`: from a source, from a compiled tree, or from the files.

use super::common::{at_input, finish, list, one_stdin, open_all, refs, source_date_epoch};
use crate::args::{Fit, NameArg};
use crate::input::Input;
use crate::message;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use kimage::assemble::{self, FitFile, FitOptions as Options, FitRequest, Source, SourceError, SourceFile, TreeList};
use std::io;
use std::path::{Path, PathBuf};

/// The way out where a file is not there that the source names.
const NOT_FOUND: &str = "correct the name in the source, or say in which folder the file is: -i DIR";

pub(crate) fn fit(args: &Fit) -> Result<()> {
    for arg in [args.arch, args.os] {
        if let Some(NameArg::List(names)) = arg {
            return list(names);
        }
    }
    let time = match args.time {
        Some(time) => time,
        None => source_date_epoch()?,
    };
    let options = Options {
        time,
        external: args.placing.external(),
        unsigned: args.unsigned,
        layout: args.layout.unwrap_or_default(),
        signing: None,
    };
    match (&args.source, &args.kernel) {
        (Some(source), _) => from_source(args, source, &options),
        (None, Some(kernel)) => from_files(args, kernel, options),
        (None, None) => {
            let message = "fit: give an image tree source, or the kernel with --kernel";
            message::usage(ErrorKind::MissingRequiredArgument, message)
        }
    }
}

fn from_source(args: &Fit, path: &Path, options: &Options<'_>) -> Result<()> {
    let source = Input::open(path)?;
    if assemble::is_tree_blob(&source) {
        return args.signer.with("fit", (&args.output, &args.building), |signing| {
            assemble::fit_from_blob(&source, &Options { signing, ..*options }, args.force)
                .map_err(|error| anyhow::Error::new(error).context(source.name()))
        });
    }
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut not_found = false;
    let source = Source::parse(&name, &source, &mut |name, from| {
        let path = found(name, from, &args.include);
        let text = std::fs::read(&path).inspect_err(|error| not_found |= error.kind() == io::ErrorKind::NotFound)?;
        crate::depfile::read(&path);
        Ok((path.display().to_string(), text))
    })
    .map_err(|mut error| {
        if not_found {
            error.help = NOT_FOUND.into();
        }
        kimage::Error::from(error)
    })?;
    // Each file is opened once, however often the source names it.
    let paths: Vec<PathBuf> = source.files().iter().map(|file| found(&file.name, &file.from, &args.include)).collect();
    let named = source.files().iter().zip(&paths);
    let open = |(file, path): (&SourceFile, &PathBuf)| {
        Input::open(path).map_err(|error| match error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()) {
            Some(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let message = format!("{} cannot be read: {cause}", file.name);
                let (file, line, column) = (file.from.clone(), file.line, file.column);
                kimage::Error::from(SourceError { file, line, column, message, help: NOT_FOUND.into() }).into()
            }
            _ => error,
        })
    };
    let files = named.map(open).collect::<Result<Vec<Input>>>()?;
    let bytes: Vec<&[u8]> = files.iter().map(|file| &**file).collect();
    let trees = device_trees(args, &source, path)?;
    let trees: Option<Vec<FitFile<'_>>> =
        trees.as_ref().map(|trees| trees.iter().map(|(name, input)| FitFile { name, bytes: input }).collect());
    let default = args.entry("default-dt");
    args.signer.with("fit", (&args.output, &args.building), |signing| {
        let options = Options { signing, ..*options };
        let made = assemble::fit_from_source(&source, &bytes, trees.as_deref(), default, &options, args.force);
        made.map_err(|error| match error {
            // It tells file and line itself.
            kimage::Error::Source(_) => error.into(),
            error => anyhow::Error::new(error).context(name.clone()),
        })
    })
}

/// The device trees of generator nodes, each with its name; `None` where nobody says which.
fn device_trees(args: &Fit, source: &Source, path: &Path) -> Result<Option<Vec<(String, Input)>>> {
    let list = assemble::fit_tree_list(source)?;
    if list.is_none() && (args.fdt_dir.is_some() || !args.entry_arg.is_empty()) {
        let message = format!(
            "{}: the source has no generator nodes (@fdt-SEQ): --fdt-dir and --entry-arg mean nothing",
            path.display()
        );
        message::usage(ErrorKind::ArgumentConflict, message);
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let beside = |name: &str| found(name, &path.display().to_string(), &args.include);
    let mut folder = args.fdt_dir.clone();
    let names: Option<Vec<String>> = match list {
        Some(TreeList::Argument(name)) => args.entry(&name).map(words),
        Some(TreeList::Names(names)) => Some(names),
        Some(TreeList::Folder(name)) => {
            folder = folder.or_else(|| Some(beside(&name)));
            None
        }
        _ => None,
    };
    let names = match (names, &folder) {
        (Some(names), _) => names,
        (None, Some(folder)) => all_of(folder).with_context(|| folder.display().to_string())?,
        (None, None) => return Ok(None),
    };
    let open = |name: String| {
        let file = format!("{name}.dtb");
        let input = Input::open(&folder.as_ref().map_or_else(|| beside(&file), |folder| folder.join(&file)))?;
        Ok((name, input))
    };
    names.into_iter().map(open).collect::<Result<Vec<_>>>().map(Some)
}

/// The names of all device trees of a folder, sorted, without `.dtb`.
fn all_of(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "dtb") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

impl Fit {
    fn entry(&self, name: &str) -> Option<&str> {
        self.entry_arg.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The path of a file that a source names: relative to the source's own folder, else to the first folder given that has it,
/// as dtc has it.
fn found(name: &str, from: &str, folders: &[PathBuf]) -> PathBuf {
    let beside = Path::new(from).parent().unwrap_or(Path::new("")).join(name);
    if beside.exists() {
        return beside;
    }
    folders.iter().map(|folder| folder.join(name)).find(|path| path.exists()).unwrap_or(beside)
}

fn from_files(args: &Fit, kernel: &Path, options: Options<'_>) -> Result<()> {
    let kernel = kernel.to_owned();
    let ramdisk: Vec<PathBuf> = args.ramdisk.iter().cloned().collect();
    one_stdin([&kernel].into_iter().chain(&args.dtb).chain(&args.overlay).chain(&ramdisk).chain(&args.loadable));
    let kernels = open_all(&[kernel])?;
    let dtbs = open_all(&args.dtb)?;
    let overlays = open_all(&args.overlay)?;
    let ramdisks = open_all(&ramdisk)?;
    let loadables = open_all(&args.loadable)?;
    let request = FitRequest {
        kernel: files(&kernels).pop(),
        dtbs: files(&dtbs),
        overlays: files(&overlays),
        ramdisk: files(&ramdisks).pop(),
        loadables: files(&loadables),
        arch: args.arch.and_then(NameArg::id),
        os: args.os.and_then(NameArg::id),
        load: args.load_address,
        entry: args.entry_point,
        dtb_load: args.dtb_load,
        compress: args.compress,
        hashes: args.hash.iter().flatten().copied().collect(),
        description: args.description.clone(),
        default: args.default.clone(),
        options,
        force: args.force,
    };
    let kernels = refs(&kernels);
    let assembled = assemble::fit(&request).map_err(|error| {
        at_input(error, &[("KERNEL", &kernels), ("DTB", &refs(&dtbs)), ("OVERLAY", &refs(&overlays))])
    })?;
    finish("fit", &args.output, &args.building, &assembled)
}

fn files(inputs: &[Input]) -> Vec<FitFile<'_>> {
    inputs.iter().map(|input| FitFile { name: input.file_name(), bytes: input }).collect()
}
