//! The whole way from the kernel's own vmlinux to the linked decompressor and its setup.

use super::folder::{BuildFolder, Files, Image, Place};
use super::rebuild::{Rebuild, UnpackedKernel};
use super::tree::{check_linker, missing_files, voffsets, zoffsets};
use super::{Error, LinkCommand, VOFFSET, ZOFFSET, offsets};
use crate::assemble::Step;
use crate::bytes::{Patch, len64};
use crate::codec::{Codec, Parameters};
use crate::elf::{Elf, FlatOptions, X86_REMOVES, flatten};
use crate::finding::Finding;

/// What is to be built.
#[allow(missing_debug_implementations, reason = "a function has nothing to show")]
pub struct Request<'a> {
    /// Into which image.
    pub image: Image,
    /// The kernel's own vmlinux.
    pub vmlinux: &'a [u8],
    /// `vmlinux.unstripped` from beside it, which still has the relocations.
    pub unstripped: Option<&'a [u8]>,
    /// The linker, instead of the folder's own.
    pub linker: Option<&'a str>,
    /// A compressed kernel with its size behind it, and its name for the report: instead of compressing.
    pub payload: Option<(&'a [u8], String)>,
    /// Makes the parameters to compress with out of those of the folder's own compressed kernel.
    pub parameters: &'a dyn Fn(Parameters) -> Parameters,
}

/// What an image is made of, and how it came about.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// The linked decompressor.
    pub linked: Vec<u8>,
    /// x86: the setup that belongs to it.
    pub setup: Vec<u8>,
    /// x86: fields of the setup that changed.
    pub patches: Vec<Patch>,
    /// What was made on the way.
    pub steps: Vec<Step>,
    /// What is worth knowing about it.
    pub findings: Vec<Finding>,
    /// The files of the steps, under their paths in the build folder.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Does all that comes before the image, which is made of the result as of the folder's own files.
///
/// # Errors
/// The folder's own, with each [`Error`] told to [`BuildFolder::at`] first.
pub fn build<F: BuildFolder>(request: &Request<'_>, folder: &F) -> Result<Built, F::Error> {
    let image = request.image;
    let in_folder = |error| folder.at(Place::Folder, error);
    let files = Files::open(image, folder)?;
    let rebuild = Rebuild::new(request.vmlinux, image, files.bytes(), request.linker).map_err(|error| {
        let place = if error.which().is_some() { Place::Kernel } else { Place::Folder };
        folder.at(place, error)
    })?;
    check_link(&rebuild.link, folder)?;

    // Everything is there: now the work.
    let mut built = Built::default();
    let kernel = rebuild.kernel(request.unstripped).map_err(|error| folder.at(Place::Kernel, error))?;
    let unpacked = kernel.plan.bytes();
    built.kernel(image, &kernel, &unpacked);
    let (payload, how) = match &request.payload {
        Some((payload, name)) => {
            let checked = rebuild.check_payload(payload, &unpacked);
            checked.map_err(|error| folder.at(Place::Payload, error))?;
            (payload.to_vec(), format!("as given: {name}"))
        }
        None => {
            let parameters = (request.parameters)(rebuild.parameters.clone());
            let payload = folder
                .compressing(rebuild.codec, || rebuild.compress(&unpacked, &parameters))
                .map_err(F::Error::from)?;
            let is_asked = !parameters.gives_same_bytes(&rebuild.parameters);
            built.findings.extend(other_stream(files.stream.as_deref(), &payload, is_asked));
            (payload, describe(rebuild.codec, &parameters))
        }
    };
    let piggy = rebuild.piggy(&payload).map_err(in_folder)?;
    let piggy = piggy.bytes();
    let (linked, warnings) = folder.link(&rebuild.link, &piggy)?;
    if !warnings.is_empty() {
        built.findings.push(super::rules::LINK.finding(warnings));
    }
    let name = files.stream_name.clone().unwrap_or_else(|| image.file("compressed/vmlinux.bin"));
    let text = match image {
        Image::BzImage => {
            Some(rebuild.piggy_of(&payload).and_then(|piggy| piggy.text(name.as_bytes())).map_err(in_folder)?)
        }
        Image::ZImage => None,
    };
    built.step(name, payload, how);
    if let Some(text) = text {
        built.step(image.file("compressed/piggy.S"), text, "as mkpiggy writes it".into());
    }
    built.step(image.file("compressed/piggy.o"), piggy, "as the assembler makes it".into());
    let command = rebuild.link.words().join(" ");
    built.step(image.file("compressed/vmlinux"), linked.clone(), format!("linked by: {command}"));
    built.linked = linked;
    if image == Image::BzImage {
        built.setup(request, &rebuild, &files, folder)?;
    }
    Ok(built)
}

impl Built {
    fn step(&mut self, file: String, bytes: Vec<u8>, how: String) {
        self.steps.push(Step { file: file.clone(), size: len64(&bytes), how });
        self.files.push((file, bytes));
    }

    fn kernel(&mut self, image: Image, kernel: &UnpackedKernel<'_>, unpacked: &[u8]) {
        let Some(stripped) = kernel.plan.regions().iter().find(|region| region.name == "vmlinux.bin") else {
            return self.step(image.file("Image"), unpacked.to_vec(), "flat: objcopy -O binary -R .comment -S".into());
        };
        let stripped = usize::try_from(stripped.at.end).ok().and_then(|end| unpacked.get(..end)).unwrap_or_default();
        self.step(image.file("compressed/vmlinux.bin"), stripped.to_vec(), "stripped: objcopy -R .comment -S".into());
        if let Some((table, from)) = &kernel.relocs {
            let how = format!("relocations of {from}");
            self.step(image.file("compressed/vmlinux.relocs"), table.clone(), how);
        }
    }

    /// The setup that follows the link, and what is made of the link for it.
    fn setup<F: BuildFolder>(
        &mut self,
        request: &Request<'_>,
        rebuild: &Rebuild<'_>,
        files: &Files<F::File>,
        folder: &F,
    ) -> Result<(), F::Error> {
        let image = request.image;
        let in_folder = |error| folder.at(Place::Folder, error);
        let mut given = None;
        for name in [image.file("setup.bin"), image.file("setup.elf")] {
            if given.is_none() {
                given = folder.read(&name)?.map(|bytes| (name, bytes));
            }
        }
        let Some((name, given)) = given else {
            let file = "arch/x86/boot/setup.bin or arch/x86/boot/setup.elf";
            return Err(in_folder(Error::NoFile { file }));
        };
        let (setup, patches) =
            rebuild.setup(&given, &self.linked).map_err(|error| folder.at(Place::File(&name), error))?;
        let linked = std::mem::take(&mut self.linked);
        // With the symbols that this kernel's headers have, not those of all kernels.
        let headers = [
            ("voffset.h", request.vmlinux, VOFFSET, files.voffset.as_deref().map(voffsets)),
            ("zoffset.h", &linked[..], ZOFFSET, files.zoffset.as_deref().map(zoffsets)),
        ];
        for (name, bytes, header, old) in headers {
            let old = old.transpose().map_err(in_folder)?.unwrap_or_default();
            let names: Vec<String> = old.into_iter().map(|(name, _)| name).collect();
            let elf = Elf::parse(bytes).map_err(|error| F::Error::from(error.into()))?;
            let lines = offsets(&elf, header, Some(&names)).map_err(|error| F::Error::from(error.into()))?;
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            self.step(image.file(name), text.into_bytes(), "as nm and sed make it".into());
        }
        let how = match patches.len() {
            0 => "as it stands in the build folder".to_owned(),
            count => format!("{count} fields follow the link"),
        };
        self.step(image.file("setup.bin"), setup.clone(), how);
        let system = system(&linked).map_err(F::Error::from)?;
        self.step(image.file("vmlinux.bin"), system, "flat: objcopy -O binary -R .note -R .comment -S".into());
        (self.linked, self.setup, self.patches) = (linked, setup, patches);
        Ok(())
    }
}

/// Has the folder all that the link reads, and does the linker know the folder's CPU?
fn check_link<F: BuildFolder>(link: &LinkCommand, folder: &F) -> Result<(), F::Error> {
    let in_folder = |error| folder.at(Place::Folder, error);
    // An archive that cannot be read is one of the files that are not there.
    let archive = |name: &str| folder.read(name).ok().flatten().map(|bytes| bytes.to_vec());
    let missing = missing_files(link, archive, |name| folder.has(name)).map_err(in_folder)?;
    if !missing.is_empty() {
        return Err(in_folder(Error::Missing { files: missing }));
    }
    match check_linker(&folder.linker_version(link)?, link) {
        Some(finding) => Err(in_folder(Error::Refused { findings: vec![finding] })),
        None => Ok(()),
    }
}

/// The system, as it stands behind the setup.
fn system(linked: &[u8]) -> super::Result<Vec<u8>> {
    let elf = Elf::parse(linked)?;
    let flat = flatten(&elf, &FlatOptions::without(&X86_REMOVES)?.in_memory(&elf))?;
    Ok(flat.plan.bytes())
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

/// A finding when the folder's own compressed kernel has other bytes, and no others were asked for.
fn other_stream(stream: Option<&[u8]>, payload: &[u8], is_asked: bool) -> Option<Finding> {
    let stream = stream.filter(|stream| *stream != payload && !is_asked)?;
    let message = format!(
        "the compressed kernel has {} bytes, the one in the build folder {}: another kernel or another compressor",
        payload.len(),
        stream.len()
    );
    let help = "for the same bytes as the build, give the folder's own by `request.payload`";
    Some(super::rules::STREAM.finding(message).with_help(help))
}
