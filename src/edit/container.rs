//! A kernel in a container: taken out, changed, and put back where what the container's own tool writes is known.

use super::kernel::Line;
use super::packed::{self, Packed};
use super::{UNSIGNED, Work, before_rest, refused};
use crate::assemble::{ZbootRequest, fit_with_data, zboot};
use crate::bytes::{len64, overwrite, slice, slice_at};
use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::android::BootImage;
use crate::format::boot_elf::{self, BootElf};
use crate::format::fit::Fit;
use crate::format::pe::Pe;
use crate::format::zboot::Zboot;

const BY_HAND: &str = "take the kernel out, change it, and make the image anew: kimage extract IMAGE kernel";

impl Work<'_, '_> {
    /// An EFI zboot image: its own program unpacks as many bytes as it was linked with, by one codec; kimage's takes the place
    /// of it where that does not do.
    pub(super) fn zboot(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.no_tree()?;
        let packed = Packed::find(bytes, &self.request.limits)?;
        let mut kernel = packed.kernel.clone();
        self.change_alone(&mut kernel, Line::Text)?;
        let why = match self.is_repacked() {
            true => "the payload is compressed anew".to_owned(),
            false => match packed.pack(&kernel, 0)? {
                Ok(payload) => {
                    let mut out = bytes.to_vec();
                    overwrite(&mut out, packed.at.start, &payload);
                    packed::held_to(&out, &kernel, &self.request.limits)?;
                    self.step("payload", len64(&payload), packed.how());
                    return Ok(self.unsigned(&out));
                }
                Err(why) => why,
            },
        };
        let pe = Pe::find(bytes);
        let sbat = pe.as_ref().and_then(|pe| pe.contents(pe.section(b".sbat")?)).unwrap_or_default();
        let request = ZbootRequest {
            codec: self.request.codec.unwrap_or(packed.codec),
            parameters: self.request.parameters.clone(),
            sbat,
            max_size: self.request.limits.size,
        };
        let mut out = Vec::new();
        zboot(&kernel, &request)?.emit(&mut out)?;
        self.wrapped = !Zboot::is_ours(bytes);
        self.step("payload", len64(&out), format!("wrapped anew, with kimage's own EFI program: {why}"));
        // Said, and not kept.
        self.unsigned(bytes);
        Ok(out)
    }

    /// kimage's own ELF file for several loaders: what stands in front of its bzImage is made for the new one.
    pub(super) fn boot_elf(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let elf = Elf::parse(bytes)?;
        let Some(old) = BootElf::find(&elf) else { return Ok(bytes.to_vec()) };
        let changed = self.image(old.image())?;
        let (plan, head) = boot_elf::plan(changed, elf.is_64()).map_err(Error::BzImage)?;
        let out = plan.bytes();
        let memory = format!("headers for memory from {:#x} to {:#x}", head.memory.start, head.memory.end);
        self.step("ELF file", len64(&out), memory);
        before_rest(out, bytes, old.image.end)
    }

    /// Android's boot.img, as mkbootimg lays it out.
    pub(super) fn boot_image(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let image = BootImage::parse(bytes).map_err(|error| Error::input("IMAGE", error))?;
        let kernel = image.sections.iter().find(|section| section.name == "kernel");
        let Some(old) = kernel.and_then(|section| slice_at(bytes, &section.at)) else {
            let want = "a boot image with a kernel";
            return Err(Error::wrong_input(
                "IMAGE",
                "a boot image without a kernel",
                want,
                "give the image that has it",
            ));
        };
        let has_signature = image.sections.iter().any(|section| section.name == "signature");
        let same = image.with_kernel(bytes, old);
        if !has_signature && same.as_deref().is_none_or(|same| !bytes.starts_with(same)) {
            return Err(refused("payload", "the boot image is not laid out as mkbootimg does it", BY_HAND));
        }
        let changed = self.image(old)?;
        let Some(out) = image.with_kernel(bytes, &changed) else {
            return Err(refused("payload", "the kernel takes more than 4 GiB", BY_HAND));
        };
        if has_signature {
            self.step("signature", 0, UNSIGNED);
        }
        self.step("boot.img", len64(&out), "header with the new size and digest");
        let end = image.sections.last().map_or(0, |last| last.at.end.next_multiple_of(image.page_size.max(1)));
        let end = end.min(len64(bytes));
        let rest = slice(bytes, end, len64(bytes) - end).unwrap_or_default();
        if rest.iter().any(|byte| *byte != 0) {
            let help = "take the kernel out, or Android's verified boot off the image: avbtool erase_footer";
            return Err(refused("payload", "what stands behind the boot image holds for the one before", help));
        }
        let mut out = out;
        // A partition's image keeps its length.
        if !rest.is_empty() {
            out.resize(out.len().max(bytes.len()), 0);
        }
        Ok(out)
    }

    /// A FIT with one kernel, as mkimage lays it out.
    pub(super) fn fit(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let fit = Fit::parse(bytes).map_err(|error| Error::input("IMAGE", error))?;
        let is_kernel = |image: &crate::format::fit::Image<'_, '_>| {
            image.text("type").is_some_and(|kind| matches!(kind, "kernel" | "kernel_noload"))
        };
        let kernels: Vec<_> = fit.images().filter(is_kernel).collect();
        let [kernel] = &kernels[..] else {
            let found = if kernels.is_empty() { "a FIT without a kernel" } else { "a FIT of several kernels" };
            return Err(Error::wrong_input("IMAGE", found, "a FIT with one kernel", BY_HAND));
        };
        let name = kernel.name().to_owned();
        let Some(old) = kernel.data() else {
            return Err(Error::wrong_input(
                "IMAGE",
                "a FIT whose kernel has no data",
                "a FIT with one kernel",
                BY_HAND,
            ));
        };
        let refused_layout = || refused("payload", "the FIT is not what mkimage writes, or is signed", BY_HAND);
        let made =
            fit_with_data(bytes, &name, old)?.filter(|made| bytes.starts_with(made)).ok_or_else(refused_layout)?;
        let changed = self.image(old)?;
        if Format::detect(&changed) != Format::detect(old) {
            let why = "the FIT says how its kernel is compressed";
            return Err(refused("codec", why, BY_HAND));
        }
        let out = fit_with_data(bytes, &name, &changed)?.ok_or_else(refused_layout)?;
        self.step("FIT", len64(&out), format!("{name} with the new data and hashes"));
        before_rest(out, bytes, len64(&made))
    }
}
