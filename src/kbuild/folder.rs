//! A finished build folder of the kernel: how it is reached, and the files in it that say how its kernel is wrapped.

use super::{Error, LinkCommand, tree};
use crate::codec::Codec;
use std::ops::Deref;

/// The image that the kernel is built into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// x86, 32 or 64 bits.
    BzImage,
    /// 32-bit ARM.
    ZImage,
}

impl Image {
    /// The path of `name` in the build folder: under `arch/*/boot`.
    pub(super) fn file(self, name: &str) -> String {
        match self {
            Image::BzImage => format!("arch/x86/boot/{name}"),
            Image::ZImage => format!("arch/arm/boot/{name}"),
        }
    }
}

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the vmlinux given.
    Kernel,
    /// In the payload given.
    Payload,
    /// In the build folder, or in what it says.
    Folder,
    /// In this file of the build folder.
    File(&'a str),
}

/// A finished build folder of the kernel, as the caller can reach it. Names are paths from the folder's top. It is only
/// read.
pub trait BuildFolder {
    /// The bytes of a file.
    type File: Deref<Target = [u8]>;
    /// What the folder's own functions fail with.
    type Error: From<Error>;

    /// The file `name`; `None` when it is not there.
    ///
    /// # Errors
    /// The caller's own.
    fn read(&self, name: &str) -> Result<Option<Self::File>, Self::Error>;

    /// Is there a file `name`, for the linker to read?
    fn has(&self, name: &str) -> bool;

    /// What the linker of `command` prints for `-V`.
    ///
    /// # Errors
    /// The caller's own.
    fn linker_version(&self, command: &LinkCommand) -> Result<String, Self::Error>;

    /// Runs `command` with the object `piggy` linked in place of the folder's, and its output written elsewhere. Gives the
    /// linked file and what the linker said.
    ///
    /// # Errors
    /// The caller's own; when the link fails.
    fn link(&self, command: &LinkCommand, piggy: &[u8]) -> Result<(Vec<u8>, String), Self::Error>;

    /// Tells where `error` is.
    fn at(&self, place: Place<'_>, error: Error) -> Self::Error;

    /// Compresses, which may take a while: `work` does it.
    fn compressing<T>(&self, codec: Codec, work: impl FnOnce() -> T) -> T {
        let _ = codec;
        work()
    }
}

/// The files of a build folder that say how its kernel is wrapped; `None` for one that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<F, N = String> {
    /// `.config`
    pub(super) config: Option<F>,
    /// `compressed/.vmlinux.cmd`
    pub(super) link: Option<F>,
    /// `compressed/piggy.S`
    pub(super) piggy_s: Option<F>,
    /// `compressed/piggy.o`
    pub(super) piggy_o: Option<F>,
    /// The path of the compressed kernel that is linked there.
    pub(super) stream_name: Option<N>,
    /// That compressed kernel.
    pub(super) stream: Option<F>,
    /// `scripts/xz_wrap.sh` of the sources: asked only where there is no compressed kernel.
    pub(super) xz_wrap: Option<F>,
    /// x86: `voffset.h`
    pub(super) voffset: Option<F>,
    /// x86: `zoffset.h`
    pub(super) zoffset: Option<F>,
    /// x86: `compressed/vmlinux.bin`, the stripped kernel
    pub(super) stripped: Option<F>,
    /// x86: `compressed/vmlinux.relocs`
    pub(super) relocs: Option<F>,
}

impl<F: Deref<Target = [u8]>> Files<F> {
    pub(super) fn open<T: BuildFolder<File = F>>(image: Image, folder: &T) -> std::result::Result<Self, T::Error> {
        let read = |name: &str| folder.read(&image.file(name));
        // ARM's piggy.S is part of the source, and the same for all codecs.
        let piggy_s = if image == Image::ZImage { None } else { read("compressed/piggy.S")? };
        let stream_name = match (image, piggy_s.as_deref()) {
            (Image::ZImage, _) => Some(image.file("compressed/piggy_data")),
            (Image::BzImage, Some(text)) => Some(tree::incbin(text).map_err(|error| folder.at(Place::Folder, error))?),
            (Image::BzImage, None) => None,
        };
        Ok(Files {
            config: folder.read(".config")?,
            link: read("compressed/.vmlinux.cmd")?,
            piggy_s,
            piggy_o: read("compressed/piggy.o")?,
            stream: stream_name.as_deref().map(|name| folder.read(name)).transpose()?.flatten(),
            stream_name,
            // A build in a folder of its own has a link to the sources.
            xz_wrap: match folder.read("scripts/xz_wrap.sh")? {
                None => folder.read("source/scripts/xz_wrap.sh")?,
                script => script,
            },
            voffset: read("voffset.h")?,
            zoffset: read("zoffset.h")?,
            stripped: read("compressed/vmlinux.bin")?,
            relocs: read("compressed/vmlinux.relocs")?,
        })
    }

    pub(super) fn bytes(&self) -> Files<&[u8], &str> {
        Files {
            config: self.config.as_deref(),
            link: self.link.as_deref(),
            piggy_s: self.piggy_s.as_deref(),
            piggy_o: self.piggy_o.as_deref(),
            stream_name: self.stream_name.as_deref(),
            stream: self.stream.as_deref(),
            xz_wrap: self.xz_wrap.as_deref(),
            voffset: self.voffset.as_deref(),
            zoffset: self.zoffset.as_deref(),
            stripped: self.stripped.as_deref(),
            relocs: self.relocs.as_deref(),
        }
    }
}
