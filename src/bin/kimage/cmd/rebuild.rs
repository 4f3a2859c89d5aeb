//! `bzimage` and `zimage` with `--build-dir`: from the kernel's own vmlinux, with the decompressor of a build folder.

use crate::args::FolderOptions;
use crate::input::Input;
use crate::output::Output;
use crate::{cleanup, depfile};
use crate::{link, say};
use anyhow::{Context, Result, bail};
use kimage::arch::Arch;
use kimage::assemble::Step;
use kimage::bytes::Patch;
use kimage::codec::{Codec, Parameters};
use kimage::elf::{Elf, FlatOptions, RemoveList, flatten};
use kimage::finding::{Finding, Severity};
use kimage::kbuild::tree::{missing_files, voffsets, zoffsets};
use kimage::kbuild::{self, Folder, Kernel, Piggy, Rebuild, VOFFSET, ZOFFSET, offsets, stream_file};
use std::fs;
use std::path::{Path, PathBuf};

/// What came out, for the image to be made of.
pub(crate) struct Rebuilt {
    /// The linked decompressor.
    pub(crate) linked: Vec<u8>,
    /// x86: the setup that belongs to it.
    pub(crate) setup: Vec<u8>,
    /// x86: fields of the setup that changed.
    pub(crate) patches: Vec<Patch>,
    /// What was made on the way.
    pub(crate) steps: Vec<Step>,
    pub(crate) findings: Vec<Finding>,
    /// Under their own names, for `--keep`.
    kept: Vec<(String, Vec<u8>)>,
}

/// A build folder.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn open(path: &Path) -> Result<Tree> {
        let root = path.canonicalize().with_context(|| path.display().to_string())?;
        if !root.is_dir() {
            bail!("{}: is no folder; give the folder of a kernel build", path.display());
        }
        Ok(Tree { root })
    }

    /// A file of the folder; `None` when it is not there.
    fn file(&self, name: &str) -> Result<Option<Input>> {
        let path = self.root.join(name);
        if path.exists() { Input::open(&path).map(Some) } else { Ok(None) }
    }

    fn one_of(&self, names: [String; 2]) -> Result<Input> {
        for name in &names {
            if let Some(file) = self.file(name)? {
                return Ok(file);
            }
        }
        bail!("{}: has no {}; give the folder of a finished kernel build", self.root.display(), names.join(" or "));
    }
}

/// Does all that comes before the image. `want` is [`Arch::X86`] or [`Arch::Arm`].
pub(crate) fn rebuild(vmlinux_path: &Path, want: Arch, options: &FolderOptions) -> Result<Rebuilt> {
    let Some(folder) = &options.build_dir else { bail!("--build-dir is missing") };
    let tree = Tree::open(folder)?;
    let boot = if want == Arch::Arm { "arch/arm/boot" } else { "arch/x86/boot" };
    let at = |name: &str| format!("{boot}/{name}");
    let vmlinux = Input::open(vmlinux_path)?;
    let config = tree.file(".config")?;
    let command = tree.file(&at("compressed/.vmlinux.cmd"))?;
    // ARM's piggy.S is part of the source, and the same for all codecs.
    let piggy_s = if want == Arch::Arm { None } else { tree.file(&at("compressed/piggy.S"))? };
    let piggy_o = tree.file(&at("compressed/piggy.o"))?;
    let [voffset, zoffset] = [tree.file(&at("voffset.h"))?, tree.file(&at("zoffset.h"))?];
    let in_tree = |error: kbuild::Error| anyhow::Error::new(error).context(tree.root.display().to_string());
    let stream_name = stream_file(want, piggy_s.as_deref()).map_err(in_tree)?;
    let stream = stream_name.as_deref().map(|name| tree.file(name)).transpose()?.flatten();
    // A build in a folder of its own has a link to the sources.
    let xz_wrap = match tree.file("scripts/xz_wrap.sh")? {
        None => tree.file("source/scripts/xz_wrap.sh")?,
        script => script,
    };
    let [stripped, relocs] = [tree.file(&at("compressed/vmlinux.bin"))?, tree.file(&at("compressed/vmlinux.relocs"))?];
    let files = Folder {
        config: config.as_deref(),
        link: command.as_deref(),
        piggy_s: piggy_s.as_deref(),
        piggy_o: piggy_o.as_deref(),
        stream: stream.as_deref(),
        xz_wrap: xz_wrap.as_deref(),
        voffset: voffset.as_deref(),
        zoffset: zoffset.as_deref(),
        stripped: stripped.as_deref(),
        relocs: relocs.as_deref(),
    };
    let linker = options.ld.as_deref().map(link::linker).transpose()?;
    let about = |error: kbuild::Error| match error.which() {
        Some(_) => anyhow::Error::new(error).context(vmlinux.name()),
        None => in_tree(error),
    };
    let rebuild = Rebuild::new(&vmlinux, want, files, linker.as_deref()).map_err(about)?;
    check_link(&rebuild, &tree)?;

    // Everything is there: now the work.
    let beside = unstripped(vmlinux_path)?;
    let kernel = rebuild.kernel(beside.as_deref()).map_err(|error| error_at(error, &vmlinux))?;
    let mut steps = Vec::new();
    let mut kept = Vec::new();
    let mut step = |name: String, bytes: Vec<u8>, how: String| {
        steps.push(Step { file: name.clone(), size: bytes.len() as u64, how });
        kept.push((name, bytes));
    };
    let unpacked = kernel.plan.bytes_at(0..kernel.plan.len());
    kernel_steps(&kernel, &unpacked, &at, &mut step);
    let mut findings = Vec::new();
    let (payload, how) = match &options.payload {
        Some(path) => {
            let payload = Input::open(path)?;
            rebuild.check_payload(&payload, &unpacked).map_err(|error| error_at(error, &payload))?;
            (payload.to_vec(), format!("as given: {}", payload.name()))
        }
        None => {
            let parameters = options.codec.over(rebuild.parameters().clone());
            let payload = say::busy(&format!("compressing with {}", rebuild.codec().name()), || {
                rebuild.compress(&unpacked, &parameters)
            })?;
            findings.extend(other_stream(stream.as_deref(), &payload, options));
            (payload, describe(rebuild.codec(), &parameters))
        }
    };
    let name = stream_name.unwrap_or_else(|| at("compressed/vmlinux.bin"));
    let piggy = rebuild.piggy(&payload).map_err(in_tree)?;
    let piggy = piggy.bytes_at(0..piggy.len());
    let made = cleanup::made(|| {
        let folder = tempfile::tempdir()?;
        let stray = cleanup::Stray::Folder(folder.path().to_owned());
        Ok::<_, std::io::Error>((folder, stray))
    });
    let (temporary, _watched) = made.context("no temporary folder can be made; name another by TMPDIR")?;
    let piggy_path = temporary.path().join("piggy.o");
    fs::write(&piggy_path, &piggy).with_context(|| piggy_path.display().to_string())?;
    let (linked, said) = link::link(rebuild.link(), &tree.root, temporary.path(), &piggy_path)?;
    if !said.is_empty() {
        findings.push(Finding::new("tree.link", Severity::Warning, said));
    }
    let linked = fs::read(&linked).with_context(|| linked.display().to_string())?;
    let is_x86 = want != Arch::Arm;
    if is_x86 {
        let incbin = Piggy::new(&payload).and_then(|piggy| piggy.text(name.as_bytes()));
        let text = incbin?;
        step(name, payload, how);
        step(at("compressed/piggy.S"), text, "as mkpiggy writes it".into());
    } else {
        step(name, payload, how);
    }
    step(at("compressed/piggy.o"), piggy, "as the assembler makes it".into());
    let command = rebuild.link().words().join(" ");
    step(at("compressed/vmlinux"), linked.clone(), format!("linked by: {command}"));
    let (setup, patches) = if is_x86 {
        let given = tree.one_of([at("setup.bin"), at("setup.elf")])?;
        let (setup, patches) = rebuild.setup(&given, &linked).map_err(|error| error_at(error, &given))?;
        // With the symbols that this kernel's headers have, not those of all kernels.
        let headers = [
            ("voffset.h", &vmlinux[..], VOFFSET, voffset.as_deref().map(voffsets)),
            ("zoffset.h", &linked[..], ZOFFSET, zoffset.as_deref().map(zoffsets)),
        ];
        for (name, bytes, header, old) in headers {
            let old = old.transpose().map_err(in_tree)?.unwrap_or_default();
            let names: Vec<String> = old.into_iter().map(|(name, _)| name).collect();
            let lines = Elf::parse(bytes).and_then(|elf| offsets(&elf, header, Some(&names)));
            let text: String = lines.map_err(kimage::Error::from)?.iter().map(|line| format!("{line}\n")).collect();
            step(at(name), text.into_bytes(), "as nm and sed make it".into());
        }
        let how = match patches.len() {
            0 => "as it stands in the build folder".to_owned(),
            count => format!("{count} fields follow the link"),
        };
        step(at("setup.bin"), setup.clone(), how);
        step(at("vmlinux.bin"), flat(&linked)?, "flat: objcopy -O binary -R .note -R .comment -S".into());
        (setup, patches)
    } else {
        (Vec::new(), Vec::new())
    };
    Ok(Rebuilt { linked, setup, patches, steps, findings, kept })
}

impl Rebuilt {
    /// Leaves everything that was made on the way, and the flat system, under `folder`.
    pub(crate) fn keep(&self, folder: &Path, tree: &Path, sync: bool) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let real = folder.canonicalize().with_context(|| folder.display().to_string())?;
        if tree.canonicalize().is_ok_and(|tree| real.starts_with(tree)) {
            bail!("{}: lies in the build folder, which is only read; name a folder elsewhere", folder.display());
        }
        for (name, bytes) in &self.kept {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            }
            let output = Output { path: &path, sync, is_text: false };
            output.write(bytes.len() as u64, |out| Ok(out.write_all(bytes)?))?;
        }
        Ok(())
    }
}

/// `vmlinux.unstripped` beside the kernel.
fn unstripped(vmlinux: &Path) -> Result<Option<Input>> {
    let mut name = vmlinux.as_os_str().to_owned();
    name.push(".unstripped");
    let path = PathBuf::from(name);
    if path.exists() { Input::open(&path).map(Some) } else { Ok(None) }
}

fn check_link(rebuild: &Rebuild<'_>, tree: &Tree) -> Result<()> {
    let at_root = || tree.root.display().to_string();
    let path = |name: &str| tree.root.join(name);
    let missing = missing_files(
        rebuild.link(),
        |name| fs::read(path(name)).ok().inspect(|_| depfile::read(&path(name))),
        |name| path(name).is_file().then(|| depfile::read(&path(name))).is_some(),
    );
    let missing = missing.with_context(at_root)?;
    if !missing.is_empty() {
        bail!(
            "{}: the link needs {}, which {} not there; give the folder of a finished build, or run make there",
            at_root(),
            missing.join(", "),
            if missing.len() == 1 { "is" } else { "are" }
        );
    }
    match link::check(rebuild.link(), &tree.root)? {
        Some(finding) => Err(kbuild::Error::Refused { findings: vec![finding] }).with_context(at_root),
        None => Ok(()),
    }
}

/// The system, as it stands behind the setup.
fn flat(linked: &[u8]) -> Result<Vec<u8>> {
    let elf = Elf::parse(linked).map_err(kimage::Error::from)?;
    let remove = RemoveList::new([".note", ".comment"]).map_err(kimage::Error::from)?;
    let flat = flatten(&elf, &FlatOptions { remove, ..FlatOptions::default() }).map_err(kimage::Error::from)?;
    Ok(flat.plan.bytes_at(0..flat.plan.len()))
}

fn kernel_steps(
    kernel: &Kernel<'_>,
    unpacked: &[u8],
    at: &impl Fn(&str) -> String,
    step: &mut impl FnMut(String, Vec<u8>, String),
) {
    let Some(stripped) = kernel.plan.regions().iter().find(|region| region.name == "vmlinux.bin") else {
        return step(at("Image"), unpacked.to_vec(), "flat: objcopy -O binary -R .comment -S".into());
    };
    let stripped = usize::try_from(stripped.at.end).ok().and_then(|end| unpacked.get(..end)).unwrap_or_default();
    step(at("compressed/vmlinux.bin"), stripped.to_vec(), "stripped: objcopy -R .comment -S".into());
    if let Some((table, from)) = &kernel.relocs {
        step(at("compressed/vmlinux.relocs"), table.clone(), format!("relocations of {}", from.file()));
    }
}

fn describe(codec: Codec, parameters: &Parameters) -> String {
    let mut words = vec![codec.name().to_owned()];
    words.extend(parameters.level.map(|level| format!("level {level}")));
    words.extend(parameters.bcj.map(|bcj| format!("BCJ {}", format!("{bcj:?}").to_lowercase())));
    words.extend(parameters.dictionary.map(|size| match size % (1 << 20) {
        0 => format!("dictionary {} MiB", size >> 20),
        _ => format!("dictionary {size}"),
    }));
    if parameters.split {
        words.push("in pieces of 16 MiB".into());
    }
    if parameters.best {
        words.push("smallest".into());
    }
    words.join(", ")
}

/// Says that the folder's own compressed kernel has other bytes, where the user did not ask for others.
fn other_stream(stream: Option<&[u8]>, payload: &[u8], options: &FolderOptions) -> Option<Finding> {
    let stream = stream.filter(|stream| *stream != payload && !options.codec.is_given())?;
    let message = format!(
        "the compressed kernel has {} bytes, the one in the build folder {}: another kernel or another compressor",
        payload.len(),
        stream.len()
    );
    Some(
        Finding::new("tree.stream", Severity::Note, message)
            .with_help("for the same bytes as the build, give the folder's own by --payload"),
    )
}

fn error_at(error: kbuild::Error, input: &Input) -> anyhow::Error {
    anyhow::Error::new(error).context(input.name())
}
