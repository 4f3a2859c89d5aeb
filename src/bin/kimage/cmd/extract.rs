//! `extract`: the named parts of a file.

use super::common::undamaged;
use crate::args::Extract;
use crate::input::Input;
use crate::keys::secrets;
use crate::output::Output;
use crate::place::Folder;
use crate::{message, screen};
use anyhow::{Context, Result, anyhow, bail};
use kimage::assemble::decrypt_fit;
use kimage::bytes::printable;
use kimage::inspect::{Opened, Part, StoredFile, SymbolSource, open};
use kimage::report::{FileInfo, write_files_json};
use std::io::Write;
use std::path::Path;

/// The part that is made, not cut out.
const INITCALLS: &str = "initcalls";

pub(crate) fn extract(args: &Extract) -> Result<()> {
    let input = Input::open(&args.file)?;
    let control = args.control_dtb.as_deref().map(Input::open).transpose()?;
    let plain = match (&args.keys, &control) {
        (None, None) => None,
        (folder, control) => {
            let control = control.as_ref();
            decrypt_fit(&input, &secrets(folder.as_deref()), control.map(|input| &**input)).map_err(|error| {
                let of = if error.which().is_some_and(|(which, _)| which == "CONTROL_DTB") { control } else { None };
                anyhow::Error::new(error).context(of.unwrap_or(&input).name())
            })?
        }
    };
    let bytes = plain.as_deref().unwrap_or(&input);
    // What is asked for is unpacked.
    let limits = match (&args.part, &args.all) {
        (None, None) => args.opening.limits(),
        _ => args.opening.limits_of_part(),
    };
    if let Some(name) = &args.part {
        let mut opened = Opened::new(bytes, &limits).with_context(|| input.name())?;
        if name.contains('/') && !args.symbols {
            return file(&mut opened, name, args).with_context(|| input.name());
        }
        if name == "vmlinux" && !args.symbols && unpack(&mut opened, args)? {
            return Ok(());
        }
        // No range of the file, but what the kernel's symbols make of it.
        let is_initcalls = name == INITCALLS;
        let Some(part) = opened.part(if is_initcalls { "vmlinux" } else { name }) else {
            return no_such_part(&input, &opened, name);
        };
        undamaged(&opened, &part).with_context(|| input.name())?;
        if is_initcalls {
            let kernel = opened.with_symbols(&part).with_context(|| input.name())?;
            let text = kernel.initcalls().with_context(|| input.name())?;
            let output = Output { path: &args.output, sync: args.sync, is_text: true };
            return output.write(text.len() as u64, |out| Ok(out.write_all(&text)?));
        }
        let output = Output { path: &args.output, sync: args.sync, is_text: is_text(&part) };
        if args.symbols {
            return with_symbols(&opened, &part, &output).with_context(|| format!("{}: {}", input.name(), part.name));
        }
        let bytes = opened.part_bytes(&part);
        return output.write(bytes.len() as u64, |out| Ok(out.write_all(bytes)?));
    }
    let mut opened = open(bytes, &limits).with_context(|| input.name())?;
    message::left_out(&opened);
    let files = opened.files();
    if let Some(folder) = &args.all {
        let parts = opened.parts().iter().map(|part| part.at.end - part.at.start);
        let total: u64 = parts.chain(files.iter().map(|file| file.size)).fold(0, u64::saturating_add);
        let most = limits.size.max(2 * bytes.len() as u64);
        if total > most {
            bail!(
                "{}: its parts have {total} bytes together, more than {most}; allow it by --limit, or name the parts one by one",
                input.name()
            );
        }
        return write_all(folder, &opened, &files, args.sync);
    }
    if args.json {
        let files = [FileInfo::new(&input.name(), Ok(&opened))];
        return screen::print(|out| write_files_json("extract", &files, out));
    }
    screen::print(|out| {
        opened.parts().iter().try_for_each(|part| {
            let size = part.at.end - part.at.start;
            writeln!(out, "{:<14} {size:>12}  {}", printable(&part.name), printable(&part.what))
        })?;
        files.iter().try_for_each(|file| {
            let path = format!("/{}", file.path);
            writeln!(out, "{:<14} {:>12}  a file of the disk", printable(&path), file.size)
        })
    })
}

/// Writes the file of a disk that has this path, `/` in front or not; a FAT does not tell capital letters from small ones.
fn file(opened: &mut Opened<'_>, path: &str, args: &Extract) -> Result<()> {
    let files = opened.files();
    let wanted = path.trim_start_matches('/');
    let exact = files.iter().find(|file| file.path == wanted);
    let same = || files.iter().find(|file| file.path.to_lowercase() == wanted.to_lowercase());
    let Some(file) = exact.or_else(same) else {
        let have = match files.as_slice() {
            [] => "it has no files; `kimage extract` without a part lists its parts".to_owned(),
            [first, ..] => format!("it has {}, the first of them /{}", files.len(), first.path),
        };
        bail!("there is no file {path}; {have}");
    };
    let pieces = whole(opened, file)?;
    let output = Output { path: &args.output, sync: args.sync, is_text: false };
    output.write(file.size, |out| Ok(pieces.iter().try_for_each(|piece| out.write_all(piece))?))
}

fn whole<'o>(opened: &'o Opened<'_>, file: &StoredFile) -> Result<Vec<&'o [u8]>> {
    let pieces = opened.file_bytes(file);
    pieces.with_context(|| format!("/{}: the disk does not have all of it; `kimage verify` says why", file.path))
}

/// Decompresses the kernel straight into its file, which takes less time than by way of memory. False when that is not
/// possible, or the file was no good: then there is a message to be had by looking closer.
fn unpack(opened: &mut Opened<'_>, args: &Extract) -> Result<bool> {
    let output = Output { path: &args.output, sync: args.sync, is_text: false };
    // What went down a pipe cannot be taken back.
    if !output.is_replaced() {
        return Ok(false);
    }
    let Some(kernel) = opened.packed_kernel() else { return Ok(false) };
    let mut is_good = true;
    let written = output.write(kernel.expected_size(), |mut out| {
        is_good = kernel.unpack(&mut out)?.is_some();
        if is_good { Ok(()) } else { bail!("damaged") }
    });
    if is_good { written.map(|()| true) } else { Ok(false) }
}

/// Writes the kernel with the symbol table that its own symbols make.
fn with_symbols(opened: &Opened<'_>, part: &Part, output: &Output<'_>) -> Result<()> {
    let kernel = opened.with_symbols(part).map_err(|error| match error {
        kimage::Error::Unflatten(error) => anyhow!("{error}: leave out --symbols"),
        error => error.into(),
    })?;
    let plan = kernel.plan()?;
    output.write(plan.len(), |out| Ok(plan.emit(out).map(|_| ())?))?;
    if !output.is_stdout() {
        let count = kernel.count();
        message::line(&match kernel.source() {
            SymbolSource::Kallsyms => format!("{count} symbols from kallsyms"),
            SymbolSource::Exports => {
                format!("{count} symbols, those that modules may use alone: the kernel has no kallsyms")
            }
            SymbolSource::Table => "the symbol table is the kernel's own".to_owned(),
        });
    }
    Ok(())
}

/// Says which parts there are, and why there may be fewer than one would think.
fn no_such_part(input: &Input, opened: &Opened<'_>, name: &str) -> Result<()> {
    for layer in opened.layers() {
        layer.findings.iter().for_each(message::finding);
    }
    let names: Vec<&str> = opened.parts().iter().map(|part| part.name.as_str()).collect();
    let have = if names.is_empty() { "it has none".to_owned() } else { format!("it has: {}", names.join(", ")) };
    bail!("{}: there is no part {name}; {have}", input.name())
}

/// Text may go to a terminal.
fn is_text(part: &Part) -> bool {
    let base = part.name.split('[').next().unwrap_or(&part.name);
    matches!(base, "config" | "cmdline" | "banner" | "sbat" | "osrel" | "uname")
}

/// The folder of the files of a disk, beside its parts.
const FILES: &str = "files";

/// Writes a file of a disk to its own path in that folder. The disk may say any path.
fn write_file(folder: &Folder, opened: &Opened<'_>, file: &StoredFile, to: &Path, sync: bool) -> Result<()> {
    let pieces = whole(opened, file)?;
    let (folders, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    let mut held = folder.folder(FILES).with_context(|| to.display().to_string())?;
    for inner in folders.split('/').filter(|_| !folders.is_empty()).chain([name]) {
        if !is_name(inner) {
            bail!("/{}: this is no path of a file inside of a folder", file.path);
        }
    }
    for inner in folders.split('/').filter(|_| !folders.is_empty()) {
        held = held.folder(inner).with_context(|| to.display().to_string())?;
    }
    Output { path: to, sync, is_text: true }.write_into(&held, name, &pieces)
}

/// Writes every part into `folder`, under kimage's own names. A file in the way is replaced, and nothing that a link
/// leads to is touched.
fn write_all(folder: &Path, opened: &Opened<'_>, files: &[StoredFile], sync: bool) -> Result<()> {
    // Held open: whatever others do meanwhile, all parts go to the one folder.
    let held = Folder::make(folder).with_context(|| folder.display().to_string())?;
    let mut damaged = Ok(());
    for part in opened.parts() {
        if let Err(error) = undamaged(opened, part) {
            message::error(&error);
            damaged = Err(message::AlreadyReported.into());
            continue;
        }
        // `dtb[2]` means something else to a shell.
        let name: String = part.name.replace('[', "-").replace(']', "");
        let path = folder.join(&name);
        let bytes = opened.part_bytes(part);
        Output { path: &path, sync, is_text: true }.write_into(&held, &name, &[bytes])?;
        message::line(&format!("{} is ready: {} bytes, {}", path.display(), bytes.len(), part.what));
    }
    for file in files {
        let path = folder.join(FILES).join(&file.path);
        match write_file(&held, opened, file, &path, sync) {
            Ok(()) => message::line(&format!("{} is ready: {} bytes, a file of the disk", path.display(), file.size)),
            Err(error) => {
                message::error(&error);
                damaged = Err(message::AlreadyReported.into());
            }
        }
    }
    if opened.parts().is_empty() && files.is_empty() {
        bail!("there is no part to write; `kimage info` shows what the file is");
    }
    damaged
}
