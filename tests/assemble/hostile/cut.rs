//! Cut inputs.

use super::*;

/// Cut to each of `lengths`, the input is refused with field and offset, or gives what the whole one gives.
///
/// Below `known` bytes nobody can tell what it was meant to be: there the help must say what to give.
fn cut(door: Door, name: &str, input: &[u8], known: usize, lengths: impl IntoIterator<Item = usize>) {
    let whole = (door.open)(input).unwrap_or_else(|complaint| panic!("{name} into {}: {complaint:?}", door.name));
    for len in lengths {
        judge(
            door,
            || format!("{name} cut to {len} bytes"),
            &input[..len],
            |outcome| match outcome {
                Ok(made) => assert!(*made == whole, "cut to {len} bytes it gives something else than the whole"),
                // An empty file has no field and no offset; what to give must be said there, too.
                Err(complaint) if len < known.max(1) => {
                    assert!(complaint.names_offset() || !complaint.help.is_empty(), "{complaint:?}");
                }
                Err(complaint) => assert!(complaint.names_offset(), "{complaint:?}"),
            },
        );
    }
}

#[test]
fn small_inputs_cut_at_every_length() {
    let good = good();
    for (door, name, input, known) in [
        (VMLINUX, "vmlinux", &good.vmlinux, 4),
        (VMLINUX_5, "vmlinux", &good.vmlinux, 4),
        (ZOFFSETS, "vmlinux", &good.vmlinux, 0),
        (IMAGE, "vmlinux", &good.vmlinux, 4),
        (SETUP, "setup.elf", &good.setup_elf, 0),
        (IMAGE, "setup.elf", &good.setup_elf, 4),
        (SETUP, "setup.bin", &good.setup, 0),
        (SETUP, "setup-5.bin", &good.setup_5, 0),
        (SETUP, "setup-7.bin", &good.setup_7, 0),
        (SETUP_HEADER, "setup.bin", &good.setup, 0),
        (ARM, "arm-vmlinux", &good.arm, 4),
        (FLATTENED, "arm-vmlinux", &good.arm, 4),
        (IMAGE_FILLED, "arm-vmlinux", &good.arm, 4),
        (ELF, "arm-vmlinux", &good.arm, 0),
        (ARM, "zImage", &good.zimage, 0x28),
        (ZIMAGE, "zImage", &good.zimage, 0),
        (APPEND, "dtb", &good.dtb, 0),
        (DTB, "dtb", &good.dtb, 0),
        (BZIMAGE, "bzImage", &good.bzimage, 0),
        (UIMAGE, "uImage", &good.uimage, 0),
        (UIMAGE, "multi-file uImage", &good.multi, 0),
    ] {
        cut(door, name, input, known, 0..input.len());
    }
    // External data that is cut off is a finding: the tree can still be read.
    let fit = &good.fit;
    cut(FIT, "fit", fit, 0, 0..fit.len() - b"behind".len());
    let findings = kimage::internals::check_fit(&Fit::parse(&fit[..fit.len() - 1]).unwrap());
    assert_eq!(findings.iter().filter(|it| it.rule == "fit.data").count(), 1);
}

/// With the tables in front, cutting takes contents away. What nobody reads is not missed; all else is.
#[test]
fn contents_cut_at_every_length() {
    for (doors, name, input) in [
        (&[VMLINUX, VMLINUX_5, ZOFFSETS, IMAGE, IMAGE_FILLED][..], "vmlinux", &good().vmlinux),
        (&[SETUP, IMAGE, IMAGE_FILLED], "setup.elf", &good().setup_elf),
        (&[ARM, IMAGE, IMAGE_FILLED, FLATTENED], "arm-vmlinux", &good().arm),
    ] {
        let input = rearranged(input);
        for door in doors {
            cut(*door, name, &input, 4, 0..input.len());
            // Of the .comment at the end nobody wants to know, of the section names in front of it everybody.
            let names_end = input.len() - COMMENT_LEN;
            assert!((door.open)(&input[..names_end]).is_ok(), "{name} into {}", door.name);
            assert!((door.open)(&input[..names_end - 1]).is_err(), "{name} into {}", door.name);
        }
    }
}

/// Length of the `.comment` of [`rearranged`].
const COMMENT_LEN: usize = 500;

/// The same ELF file in another order: the header tables in front of all contents, `.comment` (longer) behind them.
fn rearranged(input: &[u8]) -> Vec<u8> {
    let [header, segments, sections, _] = elf_tables(input);
    let elf = goblin::elf::Elf::parse(input).unwrap();
    let is_64 = elf.is_64;
    let (word, phentsize, shentsize) = if is_64 { (8, 56, 64) } else { (4, 32, 40) };
    let get = |at: usize| input[at..at + word].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let shift = (segments.len() + sections.len()).next_multiple_of(16) as u64;
    let contents_end = elf.section_headers.iter().filter_map(|section| section.file_range()).map(|at| at.end).max();
    let mut out = [&input[header.clone()], &input[segments.clone()], &input[sections.clone()]].concat();
    out.resize(header.end + shift as usize, 0);
    out.extend_from_slice(&input[header.end..contents_end.unwrap()]);
    let comment_at = out.len() as u64;
    out.resize(out.len() + COMMENT_LEN, b'c');

    let mut set = |at: usize, value: u64| put(&mut out, false, (at, word), value);
    set(if is_64 { 32 } else { 28 }, header.end as u64);
    set(if is_64 { 40 } else { 32 }, (header.end + segments.len()) as u64);
    for (index, at) in segments.clone().step_by(phentsize).enumerate() {
        let field = if is_64 { 8 } else { 4 };
        set(header.end + index * phentsize + field, get(at + field) + shift);
    }
    for (index, at) in sections.clone().step_by(shentsize).enumerate() {
        let (offset, to) = (8 + 2 * word, header.end + segments.len() + index * shentsize);
        set(to + offset, get(at + offset) + shift);
        if elf.shdr_strtab.get_at(elf.section_headers[index].sh_name) == Some(".comment") {
            set(to + offset, comment_at);
            set(to + offset + word, COMMENT_LEN as u64);
        }
    }
    out
}

/// A zImage with trees is cut where a tree begins: that is a good zImage with fewer trees. Elsewhere it is a bad one.
#[test]
fn appended_trees_cut_at_every_length() {
    let (input, kernel, dtb) = (&good().zimage_dtbs, good().zimage.len(), good().dtb.len());
    for len in 0..input.len() {
        let whole_trees = [kernel, kernel + dtb].contains(&len);
        for (door, known) in [(ZIMAGE, 0), (ARM, 0x28), (DATA_DTB, 0x28)] {
            judge(
                door,
                || format!("zImage with trees cut to {len} bytes"),
                &input[..len],
                |outcome| match outcome {
                    Ok(made) => assert!(whole_trees && (door.name != ARM.name || *made == input[..len]), "accepted"),
                    Err(complaint) => {
                        assert!(!whole_trees && (complaint.names_offset() || len < known), "{complaint:?}")
                    }
                },
            );
        }
    }
}

/// Headers that are no command's input by themselves: absent before the magic number, the same behind their end.
#[test]
fn headers_cut_at_every_length() {
    let mut image64 = vec![7; 200];
    image64[56..60].copy_from_slice(b"ARM\x64");
    let whole = (IMAGE64.open)(&image64).unwrap();
    let pe = pe_setup();
    let sections = (PE.open)(&pe).unwrap();
    for len in 0..200 {
        let outcome = (IMAGE64.open)(&image64[..len]).unwrap();
        assert_eq!(outcome, if len < 60 { b"None".to_vec() } else { whole.clone() }, "cut to {len}");
    }
    for len in 0..0x400 {
        judge(
            PE,
            || format!("PE header cut to {len}"),
            &pe[..len],
            |outcome| match outcome {
                Ok(made) if len < 2 => assert_eq!(made, b"None"),
                Ok(made) => assert!(*made == sections && len >= PE_END, "cut to {len} bytes it is read"),
                Err(complaint) => assert!(complaint.names_offset() && len < PE_END, "{complaint:?}"),
            },
        );
    }
}

/// Data for a uImage is anything: it is wrapped as far as it is there, or its CPU is asked for.
#[test]
fn data_cut_at_every_length() {
    for input in [&good().zimage, &good().zimage_dtbs, &good().setup_elf, &good().bzimage, &good().dtb] {
        for len in 0..input.len() {
            judge(
                DATA,
                || format!("data cut to {len} bytes"),
                &input[..len],
                |outcome| {
                    if let Err(complaint) = outcome {
                        assert!(!complaint.help.is_empty(), "{complaint:?}");
                    }
                },
            );
        }
    }
}

/// Lengths at and around everything that the headers of an ELF file point to, and 200 others.
fn telling_lengths(input: &[u8]) -> BTreeSet<usize> {
    let mut lengths: BTreeSet<usize> = (0..200).map(|step| step * input.len() / 200).collect();
    let mut around = |at: usize| lengths.extend([at.saturating_sub(1), at, at + 1]);
    for edge in [0, 4, 16, 52, 64, 0x1f1, 0x1fe, 0x202, 0x26c, 0x28, 0x30, 0x3c, 0x400, input.len()] {
        around(edge);
    }
    if let Ok(elf) = goblin::elf::Elf::parse(input) {
        let header = elf.header;
        for index in 0..=usize::from(header.e_phnum) {
            around(header.e_phoff as usize + index * usize::from(header.e_phentsize));
        }
        for index in 0..=usize::from(header.e_shnum) {
            around(header.e_shoff as usize + index * usize::from(header.e_shentsize));
        }
        for section in elf.section_headers.iter().filter_map(|section| section.file_range()) {
            around(section.start);
            around(section.end);
        }
    }
    lengths.retain(|len| *len < input.len());
    lengths
}

#[test]
fn corpus_inputs_cut_where_it_hurts() {
    for tree in corpus() {
        let mut files: Vec<(Door, &str, usize)> = vec![(IMAGE_LARGE, "vmlinux", 4), (VOFFSETS, "vmlinux", 0)];
        if tree.is_x86() {
            let compressed = "arch/x86/boot/compressed/vmlinux";
            files.extend([(IMAGE_LARGE, compressed, 4), (ZOFFSETS, compressed, 0)]);
            files.extend([(IMAGE, "arch/x86/boot/setup.elf", 4), (BZIMAGE, "arch/x86/boot/bzImage", 0)]);
        } else {
            let compressed = "arch/arm/boot/compressed/vmlinux";
            files.extend([(ARM, compressed, 4), (ARM, "arch/arm/boot/zImage", 0x28)]);
            files.extend([(APPEND, "arch/arm/boot/dts/vexpress-v2p-ca9.dtb", 0)]);
        }
        for (door, file, known) in files {
            let input = tree.read(file);
            cut(door, &format!("{} {file}", tree.name), &input, known, telling_lengths(&input));
        }
        if tree.is_x86() {
            bzimage_cut_where_it_hurts(tree);
        }
    }
}

/// As [`IMAGE`], for real kernels: of the image only the plan is compared.
const IMAGE_LARGE: Door =
    Door { name: "image", open: |input| shown(assemble::image(input, &FlatOptions::default())?.plan.regions()) };

/// Setup and decompressor of one build, each cut in turn.
fn bzimage_cut_where_it_hurts(tree: &support::Tree) {
    let boot = |file: &str| tree.read(&format!("arch/x86/boot/{file}"));
    let (vmlinux, want) = (boot("compressed/vmlinux"), boot("bzImage"));
    for setup in ["setup.bin", "setup.elf"] {
        let setup = boot(setup);
        let lengths = telling_lengths(&setup);
        // All that stands at the end of a setup: the last sector's worth of bytes, one by one.
        for len in lengths.into_iter().chain(setup.len() - 512..setup.len()) {
            refused(
                &tree.name,
                "setup",
                len,
                assemble::bzimage(&vmlinux, &setup[..len], CrcChoice::ByGeneration),
                &want,
            );
        }
        for len in telling_lengths(&vmlinux) {
            refused(
                &tree.name,
                "vmlinux",
                len,
                assemble::bzimage(&vmlinux[..len], &setup, CrcChoice::ByGeneration),
                &want,
            );
        }
    }
}

/// The image of a cut input is refused, or it is `want`.
#[track_caller]
fn refused(tree: &str, what: &str, len: usize, image: kimage::Result<Assembled<'_>>, want: &[u8]) {
    match image {
        Ok(image) => {
            let mut out = Vec::new();
            image.emit(&mut out).unwrap();
            support::assert_same(&format!("{tree}: {what} cut to {len}"), &out, want);
        }
        Err(error) => {
            let complaint = Complaint::from(error);
            complaint.check();
            assert!(complaint.names_offset() || len < 4, "{tree}: {what} cut to {len}: {complaint:?}");
        }
    }
}
