//! Each fact of a format on disk has one owner: nobody else spells it, everybody asks.

use super::layers::{code, sources, src};

/// What only the owner may write in code, comments and unit tests aside; the owner's files, by how their paths begin.
const FACTS: &[(&[&str], &[&str])] = &[
    // ELF: the magic number, the sizes of the headers of either class, the reader and the encoder. Two cannot ask: codec
    // lies below elf, and stub/load.rs is part of the boot stub, which has no reader.
    (
        &["\\x7fELF", "b'E', b'L', b'F'", "0x464c_457f", "0x7f45_4c46", "0x7f454c46"],
        &["elf/", "codec/parameters.rs", "stub/load.rs"],
    ),
    (&["(64, 56, 64)", "(52, 32, 40)", "(64_u64, 56_u64", "object::read", "object::write"], &["elf/"]),
    // The sections that kernels' makefiles leave out.
    (&["\".comment\"", "\".note.gnu.build-id\"", "\".modinfo\""], &["elf/remove.rs"]),
    // The names of debug sections.
    (&["\".zdebug\"", "\".gnu.linkonce.wi.\""], &["elf/mod.rs"]),
    // The x86 boot protocol: boot flag, HdrS, kernel_info, the bits of xloadflags, the formula of init_size.
    (&["0xaa55", "0x5372_6448", "b\"HdrS\""], &["format/bzimage/raw.rs"]),
    (&["0x506f_544c", "b\"LToP\""], &["format/bzimage/kernel_info.rs"]),
    (&["const XLF_", "flags.get() & 0x", "flags.get() & 1", "flags & 0b"], &["format/bzimage/raw.rs"]),
    (&["131_072", "131072"], &["format/bzimage/init_size.rs", "bootstub/"]),
    // PE: its magic numbers, and where the fields of its headers are. A codec looks for executables below it.
    (&["0x4550", "0x5a4d", "b\"PE\\0\\0\"", "b\"MZ\"", "0x10b", "u16 = 0x20b"], &["format/pe/", "stub/sections.rs"]),
    (&["optional + ", "optional_at() + ", "pe.at + ", "self.at + 0x"], &["format/pe/", "stub/sections.rs"]),
    // ARM's zImage: magic number, marks, the tag of the size table, TEXT_OFFSET before the table had it.
    (&["0x016f_2818", "0x18, 0x28, 0x6f, 0x01", "0x0403_0201", "0x4545_4545", "0x5a53_4c4b"], &["format/zimage.rs"]),
    // The Image of arm64 and RISC-V, and zboot.
    (&["0x644d_5241", "0x0543_5352", "0x5643_5349", "0x0056_4353_4952"], &["format/image64.rs"]),
    (&["0x676d_697a", "b\"zstd22\"", "b\"xzkern\""], &["format/zboot.rs"]),
    // U-Boot's numbers and words for CPUs, systems, types and codecs; the magic numbers of its containers.
    (&["0x2705_1956", "0x2705_4445"], &["format/uimage/"]),
    // The boot stub for ARM, which includes stub/arm_tree.rs, has no other reader.
    (&["0xd00d_feed"], &["format/fdt/", "stub/arm_tree.rs"]),
    // What a kernel takes of the memory: ARM's page tables and decompressor, arm64 without a size, x86's decompressor.
    (&["PAGE_TABLES", "0x1_2000", ".kernel_offset()"], &["format/zimage.rs"]),
    (&["0x8_0000", ".image_size.max("], &["format/image64.rs"]),
    (&["\"FileAlignment\") >= ", "\"SizeOfImage\").checked_sub"], &["format/bzimage/init_size.rs"]),
    // Numbers of U-Boot's systems and CPUs.
    (&["ARCH_ARM64: u8", "OS_U_BOOT: u8", "BOOTED_OS: ["], &["format/uimage/names.rs"]),
];

/// The files of `all` (by path, with their text) that spell what is another's.
fn strangers<'f>(all: impl Iterator<Item = (&'f str, &'f str)>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in all {
        for (words, owners) in FACTS.iter().filter(|(_, owners)| !owners.iter().any(|owner| path.starts_with(owner))) {
            let spelt = words.iter().filter(|word| text.contains(**word));
            found.extend(spelt.map(|word| format!("{path} spells {word}, which is for {}", owners.join(", "))));
        }
    }
    found
}

#[test]
fn facts_are_spelt_by_their_owners_only() {
    let files: Vec<(String, String)> = sources(&src())
        .into_iter()
        .map(|path| (path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned(), code(&path)))
        .collect();
    let found = strangers(files.iter().map(|(path, text)| (&path[..], &text[..])));
    assert!(found.is_empty(), "{found:#?}");
    // A fact that its owner does not spell any more guards nothing.
    for (words, owners) in FACTS {
        let is_owned = |path: &str| owners.iter().any(|owner| path.starts_with(owner));
        let mut owned = files.iter().filter(|(path, _)| is_owned(path));
        assert!(owned.any(|(_, text)| words.iter().any(|word| text.contains(word))), "{words:?}");
    }
}

/// Calls of `text` that say where a field stands by a number: of a fact, of a rule, of a cursor.
fn raw_offsets(text: &str) -> Vec<String> {
    let text: String = text.split_whitespace().collect();
    let mut found = Vec::new();
    // The call, and which of its arguments is the offset.
    for (call, index) in [
        (").at(", 0),
        (".expect(&", 1),
        (".expect_as(", 2),
        (".not_checked(&", 1),
        (".u8(\"", 1),
        (".u16(\"", 1),
        (".u32(\"", 1),
        (".u64(\"", 1),
        (".take(\"", 1),
    ] {
        for (at, _) in text.match_indices(call) {
            let rest = &text[at + call.len()..];
            let argument = rest.split(',').nth(index).unwrap_or_default();
            let number: String = argument.chars().take_while(|c| c.is_alphanumeric()).collect();
            // The beginning of something that is looked at by itself is no place in a header.
            if number.starts_with(|c: char| c.is_ascii_digit()) && number != "0" {
                found.push(rest.chars().take(60).collect());
            }
        }
    }
    found
}

/// Who describes, verifies and lints a file asks its format, or its codec, where a field stands. Chrome OS's format has a
/// table of its fields, too.
#[test]
fn offsets_of_fields_are_the_formats() {
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        let name = path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
        let asks = ["inspect/", "lint/", "assemble/", "report/"].iter().any(|layer| name.starts_with(layer));
        if asks || name == "format/cros.rs" {
            wrong.extend(raw_offsets(&code(&path)).into_iter().map(|call| format!("{name}: {call}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        raw_offsets("checks.expect(&HCRC, 4, ok, 1, 2); Fact::new(\"x\").at(16,\n 4); cursor.u32(\"m\", 8)").len(),
        3
    );
    assert_eq!(raw_offsets("checks.expect(&HCRC, offset_of(\"ih_hcrc\"), ok, 1, 2); fact.at(at, 4)").len(), 0);
}

#[test]
fn the_check_sees_a_stranger() {
    let see = |path, text| strangers([(path, text)].into_iter()).len();
    assert_eq!(see("inspect/map.rs", "let sizes = (64, 56, 64);"), 1);
    assert_eq!(see("elf/encode.rs", "use object::write::elf::Encoder;"), 0);
    assert_eq!(see("codec/parameters.rs", "[0x7f, b'E', b'L', b'F']"), 0);
}
