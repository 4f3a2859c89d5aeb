//! Reading relocation tables, and telling the right one from others, on the kernels of the corpus.

use crate::support::{self, Tree, assert_same, corpus, kimage, run_ok, tempdir};
use kimage::bytes::Problem;
use kimage::codec::Codec;
use kimage::elf::{Elf, Lists};
use kimage::internals::elf::{RelocKind, RelocTable};
use kimage::internals::payload::{
    Agreement, FoundRelocs, RelocForm, Share, emit_relocs, parse_relocs, points_into, relocs_behind,
};
use proptest::prelude::*;

/// A kernel as its image carries it, and the table that its build made.
struct Kernel {
    name: &'static str,
    stripped: Vec<u8>,
    table: Vec<u8>,
}

impl Kernel {
    fn of(tree: &'static Tree) -> Option<Kernel> {
        let table = tree.path("arch/x86/boot/compressed/vmlinux.relocs");
        table.is_file().then(|| Kernel {
            name: &tree.name,
            stripped: tree.read("arch/x86/boot/compressed/vmlinux.bin"),
            table: support::read(&table),
        })
    }

    fn elf(&self) -> Elf<'_> {
        Elf::parse(&self.stripped).unwrap()
    }

    fn relocs(&self) -> RelocTable {
        parse_relocs(&self.table, 0, self.elf().is_64()).unwrap().table
    }
}

fn kernels() -> Vec<Kernel> {
    corpus().iter().filter_map(Kernel::of).collect()
}

fn bytes_of(table: &RelocTable) -> Vec<u8> {
    let mut bytes = Vec::new();
    emit_relocs(table, RelocForm::Binary, &mut bytes).unwrap();
    bytes
}

#[test]
fn tables_are_read_as_they_were_made() {
    for kernel in kernels() {
        let found = parse_relocs(&kernel.table, 0, kernel.elf().is_64()).unwrap();
        assert_eq!(found.range, 0..kernel.table.len() as u64);
        assert_same(kernel.name, &bytes_of(&found.table), &kernel.table);
        let lists = match found.table.kind {
            RelocKind::Kernel32 => 1,
            RelocKind::Kernel64(Lists::Two) => 2,
            _ => 3,
        };
        let want = if kernel.name.contains("i386") {
            1
        } else if kernel.name.contains("linux-7.") {
            2
        } else {
            3
        };
        assert_eq!(lists, want, "{}", kernel.name);
    }
}

/// In the payload that the tree's own image carries.
#[test]
fn tables_are_found_behind_the_kernel() {
    for tree in support::x86_trees().into_iter() {
        let Some(kernel) = Kernel::of(tree) else { continue }; // no gap: a kernel that is not relocatable
        let folder = tree.path("arch/x86/boot/compressed");
        let compressed = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("vmlinux.bin.")
        });
        let compressed = support::read(&compressed.unwrap());
        let codec = Codec::detect(&compressed).unwrap();
        let mut payload = Vec::new();
        codec.decompress(&compressed, u64::MAX, &mut payload).unwrap();
        let FoundRelocs { table, range } = relocs_behind(&Elf::parse(&payload).unwrap()).unwrap().unwrap();
        assert_eq!(range, kernel.stripped.len() as u64..payload.len() as u64, "{}", tree.name);
        assert_same(&tree.name, &bytes_of(&table), &kernel.table);
        // Without one, and without section headers.
        assert_eq!(relocs_behind(&kernel.elf()).unwrap(), None, "{}", tree.name);
        let dir = tempdir();
        let small = dir.path().join("small");
        run_ok(kimage().args(["strip", "--smallest"]).arg(tree.path("vmlinux")).arg("-o").arg(&small));
        let mut payload = support::read(&small);
        let end = payload.len() as u64;
        assert_eq!(relocs_behind(&Elf::parse(&payload).unwrap()).unwrap(), None, "{}", tree.name);
        payload.extend(&kernel.table);
        let found = relocs_behind(&Elf::parse(&payload).unwrap()).unwrap().unwrap();
        assert_eq!((found.range.start, found.table), (end, table), "{}", tree.name);
        // A kernel that was cut short has no end for a table to stand behind.
        let (cut, _) = kernel.stripped.split_at(kernel.stripped.len() * 2 / 3);
        assert!(Elf::parse(cut).is_err() || relocs_behind(&Elf::parse(cut).unwrap()).is_err(), "{}", tree.name);
    }
}

fn ratio(share: Share) -> f64 {
    if share.checked == 0 { f64::NAN } else { share.inside as f64 / share.checked as f64 }
}

fn say(what: &str, found: &Agreement) {
    let [wide, inverse, narrow] = [found.addresses64, found.inverse32, found.addresses32].map(ratio);
    eprintln!("{what}: {wide:.4} {inverse:.4} {narrow:.4}");
}

/// The figures that [`Agreement::is_right`] rests on; `cargo test --test elf reloc_table:: -- --nocapture` shows them.
#[test]
fn only_the_right_table_points_into_the_kernel() {
    let kernels = kernels();
    let moved = |list: &[u32], by: u32| list.iter().map(|place| place.wrapping_add(by)).collect::<Vec<_>>();
    for kernel in &kernels {
        let (elf, table) = (kernel.elf(), kernel.relocs());
        let found = points_into(&elf, &table);
        say(&format!("{}, its own", kernel.name), &found);
        assert!(found.is_right(), "{}: {found:?}", kernel.name);
        assert_eq!(found.checked(), table.len() as u64);
        assert!(found.inside() * 1000 >= found.checked() * 995, "{}: {found:?}", kernel.name);
        assert_eq!(found.inverse32.inside, found.inverse32.checked, "{}", kernel.name);

        for by in [4u32, 8, 16, 24, 64, 4096] {
            for by in [by, by.wrapping_neg()] {
                let shifted = RelocTable {
                    addresses64: moved(&table.addresses64, by),
                    inverse32: moved(&table.inverse32, by),
                    addresses32: moved(&table.addresses32, by),
                    ..table.clone()
                };
                let found = points_into(&elf, &shifted);
                say(&format!("{}, shifted by {}", kernel.name, by as i32), &found);
                assert!(!found.is_right() && found.inside() * 4 < found.checked() * 3, "{}: {found:?}", kernel.name);
            }
        }
        for other in kernels.iter().filter(|other| other.name != kernel.name) {
            let found = points_into(&elf, &other.relocs());
            say(&format!("{}, of {}", kernel.name, other.name), &found);
            assert!(!found.is_right() && found.inside() * 2 < found.checked(), "{}: {found:?}", kernel.name);
        }
        // One list of the three is another's.
        if let Some(other) =
            kernels.iter().find(|other| other.name != kernel.name && other.elf().is_64() == elf.is_64())
        {
            let mixed = RelocTable { addresses32: other.relocs().addresses32, ..table.clone() };
            assert!(!points_into(&elf, &mixed).is_right(), "{}", kernel.name);
        }
        let empty = RelocTable { addresses64: vec![], inverse32: vec![], addresses32: vec![], ..table };
        assert!(!points_into(&elf, &empty).is_right());
    }
}

#[test]
fn what_is_no_table_is_refused() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let refused = |bytes: &[u8], at, is_64| parse_relocs(bytes, at, is_64).unwrap_err();
    let error = refused(&[], 0, true);
    assert_eq!((error.at.0, error.problem), (0, Problem::Truncated { need: 4, have: 0 }));
    let error = refused(&[0; 7], 0, false);
    assert_eq!((error.at.0, error.problem), (0, Problem::Truncated { need: 8, have: 7 }));
    let error = refused(&[0; 12], 100, false);
    assert_eq!((error.at.0, error.problem), (100, Problem::Truncated { need: 104, have: 12 }));
    let error = refused(&words(&[9, 9, 7, 0, 8]), 8, true);
    assert_eq!((error.at.0, error.problem), (8, Problem::Mismatch { found: 7, want: 0 }));
    for (bytes, is_64, value, min, max) in [
        (words(&[0, 1, 2]), true, 1, 2, 3),
        (words(&[0, 1, 0, 2]), false, 2, 1, 1),
        (words(&[0, 1, 0, 0, 0, 2]), true, 4, 2, 3),
        (vec![0; 4 << 20], true, 4, 2, 3),
    ] {
        let error = refused(&bytes, 0, is_64);
        assert_eq!(error.problem, Problem::OutOfRange { value, min, max });
        assert!(error.help.contains("vmlinux.relocs"), "{}", error.help);
    }
}

/// Places that are nowhere, in a kernel whose headers lie.
#[test]
fn no_table_and_no_kernel_makes_it_panic() {
    for kernel in kernels() {
        let table = kernel.relocs();
        let extremes = vec![0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 8, u32::MAX - 3, u32::MAX];
        let wild = RelocTable {
            addresses64: extremes.clone(),
            inverse32: extremes.clone(),
            addresses32: extremes,
            ..table.clone()
        };
        assert!(!points_into(&kernel.elf(), &wild).is_right());
        // The program headers stand behind the file header, in front of everything else.
        for at in 0..kernel.stripped.len().min(0x200) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = kernel.stripped[..0x1000].to_vec();
                bytes[at] = value;
                if let Ok(elf) = Elf::parse(&bytes) {
                    points_into(&elf, &wild);
                    let _ = relocs_behind(&elf);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(
        kind in prop::sample::select(vec![
            RelocKind::Kernel32,
            RelocKind::Kernel64(Lists::Two),
            RelocKind::Kernel64(Lists::Three),
        ]),
        lists in prop::array::uniform3(prop::collection::vec(1u32.., 0..20)),
        before in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let [mut addresses64, mut inverse32, addresses32] = lists;
        if kind != RelocKind::Kernel64(Lists::Three) {
            inverse32.clear();
        }
        if kind == RelocKind::Kernel32 {
            addresses64.clear();
        }
        let table = RelocTable { kind, segments16: vec![], addresses32, inverse32, addresses64 };
        let mut bytes = before.clone();
        bytes.extend(bytes_of(&table));
        let found = parse_relocs(&bytes, before.len() as u64, kind != RelocKind::Kernel32).unwrap();
        prop_assert_eq!(found, FoundRelocs { table, range: before.len() as u64..bytes.len() as u64 });
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0u64..80, is_64: bool) {
        if let Ok(found) = parse_relocs(&bytes, at, is_64) {
            prop_assert_eq!(bytes_of(&found.table), &bytes[at as usize..]);
        }
    }
}
