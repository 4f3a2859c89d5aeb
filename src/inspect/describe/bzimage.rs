//! x86 bzImage and zImage: the setup, its header field by field, the EFI side, the payload.

use super::{Child, Context, Decoded, Described, PartAt, pe};
use crate::bytes::{Field, FieldError};
use crate::format::Format;
use crate::format::bzimage::{
    BOOT_FLAG, BzImage, CrcState, FIELDS, HDRS, KERNEL_INFO_RULE, LAST_ROOT_DEV, LOADFLAGS, Setup, StandaloneImage,
    XLF_EFI_HANDOVER_32, XLOADFLAGS, offset_of,
};
use crate::inspect::{Fact, Kind, Value, rules};
use crate::stub::parameters::{CMDLINE_OVERRIDES, KASLR, LEN};
use std::borrow::Cow;

pub(super) fn describe(bytes: &[u8], context: &Context<'_>) -> Result<Described, FieldError> {
    let setup = Setup::parse(bytes)?;
    let version = version(setup.version());
    let is_low = !setup.is_loaded_high();
    let name = if is_low { "x86 zImage" } else { "x86 bzImage" };
    let mut described = Described::new(Kind::Known(Format::BzImage), format!("{name}, boot protocol {version}"));
    if let Some(release) = setup.release() {
        described.facts.push(Fact::new("release", release));
    }
    let image = BzImage::parse(bytes);
    let scanned = image.as_ref().ok().filter(|image| image.payload().is_none());
    let scanned = scanned.and_then(|image| image.scan_payload(context.left, context.budget));
    let flat = scanned.as_ref().map(|scanned| &*scanned.data);
    let arch = match image.as_ref().ok().and_then(|image| image.is_64_bit(flat)) {
        Some(true) => "x86-64",
        Some(false) => "i386",
        None => "x86",
    };
    described.facts.push(Fact::new("arch", arch));
    described.facts.push(Fact::new("protocol", version));
    for field in FIELDS.iter().filter(|field| setup.has(field.since)) {
        described.facts.push(fact(field, &setup));
    }
    described.facts.push(load_address(&setup));
    if setup.has(0x20a) {
        let init_size = setup.header().init_size.get();
        let meaning = "bytes of memory that must be free at the load address";
        described.facts.push(Fact::number("memory_needed", init_size).meaning(meaning));
    }
    let image = match image {
        Ok(image) => image,
        Err(error) => {
            described.regions = crate::layout::Region::whole(bytes, "setup", crate::layout::RegionKind::Header);
            described.findings.push(rules::DAMAGED.of(error));
            return Ok(described);
        }
    };
    // Whether it ends in a CRC is found out later: that takes a look at every byte.
    described.regions = image.regions_with_crc(false);
    for region in &described.regions {
        if region.name == "payload" {
            described.children.push(Child::range("payload", region.at.clone()));
        }
    }
    let (start, end) = image.system_range();
    if let Some(scanned) = scanned {
        let child = Child::range("payload", scanned.at).scanned().kind(Kind::Known(Format::Compressed(scanned.codec)));
        let decoded = Decoded { data: scanned.data, inflated: scanned.inflated };
        described.children.push(Child { decoded: Some(decoded), ..child });
    } else if image.payload().is_none() && image.bare_kernel_address().is_some() {
        described.children.push(Child::range("kernel", start..end).scanned().kind(Kind::Kernel));
    } else if image.payload().is_none() && setup.is_linux() {
        match Child::broken(start..end, context.budget) {
            Some(child) => described.children.push(child),
            None => {
                let finding = rules::BZIMAGE_KERNEL.finding("no compressed kernel was found in it");
                described.findings.push(finding.not_checked("the compressed kernel"));
            }
        }
    }
    described.part("setup", 0..start);
    let what = match described.children.iter().any(|child| child.name == "payload") {
        true => None,
        false => Some("the program that the boot loader enters, as it is loaded"),
    };
    described.parts.push(PartAt { name: "decompressor", what: what.map(Into::into), at: start..end });
    boot_stub(&image, &mut described);
    kernel_info(&image, &mut described);
    described.later(&["crc32"], crc);
    pe::describe_efi(bytes, &mut described);
    handover(&setup, start, &mut described);
    Ok(described)
}

/// `2.15` of 0x020f.
pub(super) fn version(version: u16) -> String {
    format!("{}.{:02}", version >> 8, version & 0xff)
}

fn load_address(setup: &Setup<'_>) -> Fact {
    let header = setup.header();
    let fact = Fact::hex("load_address", setup.load_address());
    if !setup.is_loaded_high() {
        return fact.meaning("low: a zImage of at most 512 KiB");
    }
    if setup.has(0x20a) && header.relocatable_kernel != 0 {
        let alignment = header.kernel_alignment.get();
        return fact.meaning(format!("preferred; any multiple of {alignment:#x} will do"));
    }
    fact
}

/// One field: its value, and what it means.
fn fact(field: &Field, setup: &Setup<'_>) -> Fact {
    let value = setup.value(field);
    let is_count = matches!(
        field.name,
        "setup_sects" | "syssize" | "cmdline_size" | "payload_length" | "init_size" | "ramdisk_size" | "min_alignment"
    );
    let value_of = if is_count { Value::Number(value) } else { Value::Hex(value) };
    let mut fact = Fact::new(field.name, value_of).meaning(meaning(field.name, value, setup)).at(field.at, field.width);
    if field.since > 0 {
        fact.since = Some(version(field.since));
    }
    fact
}

/// What a value of a field means; empty when the value says it all. Source: Documentation/arch/x86/boot.rst, Linux 7.2.
fn meaning(name: &str, value: u64, setup: &Setup<'_>) -> Cow<'static, str> {
    const LOADER: &str = "filled in by the boot loader";
    match (name, value) {
        ("setup_sects", 0) => "stands for 4: 2560 bytes with the boot sector".into(),
        ("setup_sects", sectors) => format!("sectors: {} bytes with the boot sector", (sectors + 1) * 512).into(),
        ("root_flags", 0) => "the root file system is mounted read-write".into(),
        ("root_flags", _) => "the root file system is mounted read-only".into(),
        ("syssize", size) if setup.has(0x204) || !setup.is_loaded_high() => {
            format!("paragraphs: {} bytes of protected-mode code", size.saturating_mul(16)).into()
        }
        ("syssize", _) => "16 bits count: the code's length in paragraphs, modulo 65536".into(),
        ("ram_size", _) => "obsolete".into(),
        ("vid_mode", 0xffff) => "normal VGA".into(),
        ("vid_mode", 0xfffe) => "extended VGA".into(),
        ("vid_mode", 0xfffd) => "ask at boot".into(),
        ("root_dev", 0) => "none: the command line's root= decides".into(),
        ("root_dev", device) if setup.version() <= LAST_ROOT_DEV => {
            let (major, minor) = (device >> 8, device & 0xff);
            format!("device {major}:{minor}: the root of the machine that built it, or set by rdev").into()
        }
        ("root_dev", device) => format!("device {}:{}", device >> 8, device & 0xff).into(),
        ("boot_flag", flag) if flag == u64::from(BOOT_FLAG) => "right".into(),
        ("jump", jump) if jump & 0xff == 0xeb => format!("short jump to {:#x}", (0x202 + (jump >> 8)) & 0xffff).into(),
        ("header", magic) if magic == u64::from(HDRS) => "HdrS".into(),
        ("version", _) => format!("boot protocol {}", version(setup.version())).into(),
        ("realmode_swtch" | "bootsect_kludge", 0) => "none".into(),
        ("start_sys_seg", _) => "obsolete: the load segment of a zImage".into(),
        ("kernel_version", 0) => "none".into(),
        ("kernel_version", _) => match setup.kernel_version() {
            Some(text) => text.to_owned().into(),
            None => "leads out of the setup".into(),
        },
        ("type_of_loader", 0) => LOADER.into(),
        ("loadflags", flags) => list(Value::flags(flags, LOADFLAGS)),
        ("setup_move_size", _) => "used by protocol 2.00 and 2.01 only".into(),
        ("code32_start", _) => "where the boot loader enters the 32-bit code".into(),
        ("ramdisk_image" | "ramdisk_size" | "cmd_line_ptr" | "setup_data", 0) => LOADER.into(),
        ("ext_loader_ver" | "ext_loader_type", 0) => LOADER.into(),
        ("heap_end_ptr", end) => format!("the setup's heap ends at {:#x}", end + 0x200).into(),
        ("initrd_addr_max", _) => "highest address of the last byte of an initial RAM disk".into(),
        ("kernel_alignment", _) => "load addresses must be multiples of it".into(),
        ("relocatable_kernel", 0) => "no: it runs at its load address only".into(),
        ("relocatable_kernel", _) => "yes: it may be loaded anywhere".into(),
        ("min_alignment", bits @ 0..=63) => {
            format!("an alignment of {:#x} is the least that works", 1_u64 << bits).into()
        }
        ("xloadflags", flags) => list(Value::flags(flags, XLOADFLAGS)),
        ("cmdline_size", _) => "longest command line in bytes, its NUL not counted".into(),
        ("hardware_subarch", 0) => "PC".into(),
        ("hardware_subarch", 1) => "lguest".into(),
        ("hardware_subarch", 2) => "Xen".into(),
        ("hardware_subarch", 3) => "Intel MID".into(),
        ("hardware_subarch", 4) => "CE4100".into(),
        ("payload_offset", offset) => {
            format!("from the protected-mode code: file offset {:#x}", offset + setup.padded_len()).into()
        }
        ("payload_length", _) => "bytes, with the 4 bytes of the size behind it".into(),
        ("pref_address", _) => "where it runs best".into(),
        ("init_size", _) => "bytes of memory to run in until it reads the memory map".into(),
        ("handover_offset", 0) => "no EFI handover entry".into(),
        ("handover_offset", _) => "EFI handover entry, from the protected-mode code".into(),
        ("kernel_info_offset", 0) => "none".into(),
        ("kernel_info_offset", _) => "kernel_info, from the protected-mode code".into(),
        _ => "".into(),
    }
}

fn list(names: Vec<Cow<'static, str>>) -> Cow<'static, str> {
    if names.is_empty() { "none".into() } else { names.join(", ").into() }
}

/// What is told of kimage's own boot stub, where it is in the image.
fn boot_stub(image: &BzImage<'_>, described: &mut Described) {
    let Some(standalone) = StandaloneImage::find(image) else { return };
    let (p, start) = (&standalone.parameters, image.system_range().0);
    let addresses = if p.has(KASLR) { "chosen at random" } else { "as linked" };
    let fact =
        Fact::new("boot_stub", standalone.to_string()).meaning(format!("the kernel's addresses are {addresses}"));
    described.facts.push(fact.at(standalone.at, u64::try_from(LEN).unwrap_or(0)));
    described.facts.push(Fact::new("boot_stub_cpu", standalone.cpu()).meaning("that the boot stub needs"));
    let cmdline = standalone.cmdline(image);
    if !cmdline.is_empty() {
        let joins =
            if p.has(CMDLINE_OVERRIDES) { "the boot loader's is not used" } else { "the boot loader's follows" };
        let text = String::from_utf8_lossy(cmdline).into_owned();
        described.facts.push(
            Fact::new("builtin_cmdline", text).meaning(joins).at(start.saturating_add(p.cmdline_at), p.cmdline_len),
        );
        let at = start.saturating_add(p.cmdline_at);
        described.part("cmdline", at..at.saturating_add(p.cmdline_len));
    }
    if p.initrd_len != 0 {
        let fact = Fact::number("builtin_initrd", p.initrd_len).meaning("bytes; the boot loader's is not used");
        let at = start.saturating_add(p.initrd_at);
        described.facts.push(fact.at(at, p.initrd_len));
        let disk = Child::range("initramfs", at..at.saturating_add(p.initrd_len)).part("initramfs");
        described.children.push(disk);
    }
}

fn kernel_info(image: &BzImage<'_>, described: &mut Described) {
    let Some(info) = image.kernel_info() else { return };
    if !info.is_one() {
        let message = format!("kernel_info_offset leads to {:#x}, where no kernel_info begins", info.at);
        described.findings.push(KERNEL_INFO_RULE.finding(message).at(offset_of("kernel_info_offset")));
        return;
    }
    let meaning = format!("{} bytes, {} with what it points to", info.size, info.size_total);
    described.facts.push(Fact::hex("kernel_info", info.at).meaning(meaning).at(info.at, info.size.into()));
    let fact = Fact::hex("setup_type_max", info.setup_type_max).meaning("highest setup_data type the kernel knows");
    described.facts.push(fact.at(info.setup_type_max_at(), 4));
}

/// The CRC-32 that builds up to 6.14 put at the end of the protected-mode code.
fn crc(bytes: &[u8], _: &Context<'_>, described: &mut Described) {
    let Ok(image) = BzImage::parse(bytes) else { return };
    described.regions = image.regions();
    described.crc = Some(image.computed_crc());
    let Some(crc) = image.check_crc() else { return };
    let meaning = match crc.state {
        CrcState::Right => "right",
        CrcState::None => "none, as from Linux 6.15 on",
        CrcState::BrokenBySigning => "right before the image was signed; no boot loader checks it",
        CrcState::Wrong => "not the CRC of these bytes",
    };
    described.facts.push(Fact::hex("crc32", crc.stored).meaning(meaning).at(crc.at, 4));
}

fn handover(setup: &Setup<'_>, start: u64, described: &mut Described) {
    for (flag, at) in setup.handover_entries() {
        let name = if flag == XLF_EFI_HANDOVER_32 { "efi_handover_32" } else { "efi_handover_64" };
        described.facts.push(Fact::hex(name, start + at).meaning("file offset of the entry; deprecated"));
    }
}
