//! `bzimage` and `zimage` with `--build-dir`: from the kernel's own vmlinux, with the decompressor of a build folder.

use crate::args::FolderOptions;
use crate::input::Input;
use crate::output::Output;
use crate::{depfile, link, message};
use anyhow::{Context, Error, Result, bail};
use kimage::codec::Codec;
use kimage::kbuild::{self, BuildFolder, Built, Image, LinkCommand, Place, Request};
use std::fs;
use std::path::{Path, PathBuf};

/// A build folder, and the names of what is wrapped with it.
struct Tree<'n> {
    root: PathBuf,
    vmlinux: &'n str,
    payload: &'n str,
}

impl BuildFolder for Tree<'_> {
    type File = Input;
    type Error = Error;

    fn read(&self, name: &str) -> Result<Option<Input>> {
        let path = self.root.join(name);
        if path.exists() { Input::open(&path).map(Some) } else { Ok(None) }
    }

    fn has(&self, name: &str) -> bool {
        let path = self.root.join(name);
        path.is_file().then(|| depfile::read(&path)).is_some()
    }

    fn linker_version(&self, command: &LinkCommand) -> Result<String> {
        link::version(command, &self.root)
    }

    fn link(&self, command: &LinkCommand, piggy: &[u8]) -> Result<(Vec<u8>, String)> {
        link::link(command, &self.root, piggy)
    }

    fn at(&self, place: Place<'_>, error: kbuild::Error) -> Error {
        let name = match place {
            Place::Kernel => self.vmlinux.to_owned(),
            Place::Payload => self.payload.to_owned(),
            Place::Folder => self.root.display().to_string(),
            Place::File(name) => self.root.join(name).display().to_string(),
        };
        Error::new(error).context(name)
    }

    fn compressing<T>(&self, codec: Codec, work: impl FnOnce() -> T) -> T {
        message::busy(&format!("compressing with {}", codec.name()), work)
    }
}

/// Does all that comes before the image.
pub(crate) fn rebuild(vmlinux_path: &Path, image: Image, options: &FolderOptions) -> Result<Built> {
    let Some(path) = &options.build_dir else { bail!("--build-dir is missing") };
    let root = path.canonicalize().with_context(|| path.display().to_string())?;
    if !root.is_dir() {
        bail!("{}: is no folder; give the folder of a kernel build", path.display());
    }
    let vmlinux = Input::open(vmlinux_path)?;
    let unstripped = unstripped(vmlinux_path)?;
    let payload = options.payload.as_deref().map(Input::open).transpose()?;
    let [vmlinux_name, payload_name] = [vmlinux.name(), payload.as_ref().map_or_else(String::new, Input::name)];
    let tree = Tree { root, vmlinux: &vmlinux_name, payload: &payload_name };
    let linker = options.ld.as_deref().map(link::linker).transpose()?;
    let request = Request {
        image,
        vmlinux: &vmlinux,
        unstripped: unstripped.as_deref(),
        linker: linker.as_deref(),
        payload: payload.as_deref().map(|payload| (payload, payload_name.clone())),
        parameters: &|parameters| options.codec.over(parameters),
    };
    kbuild::build(&request, &tree)
}

/// Leaves everything that was made on the way, and the flat system, under `folder`.
pub(crate) fn keep(built: &Built, folder: &Path, tree: &Path, sync: bool) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let real = folder.canonicalize().with_context(|| folder.display().to_string())?;
    if tree.canonicalize().is_ok_and(|tree| real.starts_with(tree)) {
        bail!("{}: lies in the build folder, which is only read; name a folder elsewhere", folder.display());
    }
    for (name, bytes) in &built.files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        let output = Output { path: &path, sync, is_text: false };
        output.write(bytes.len() as u64, |out| Ok(out.write_all(bytes)?))?;
    }
    Ok(())
}

/// `vmlinux.unstripped` beside the kernel.
fn unstripped(vmlinux: &Path) -> Result<Option<Input>> {
    let mut name = vmlinux.as_os_str().to_owned();
    name.push(".unstripped");
    let path = PathBuf::from(name);
    if path.exists() { Input::open(&path).map(Some) } else { Ok(None) }
}
