//! Flattened device trees: dtc as oracle for the writer, and trees that were made to hurt for the reader.

use crate::support::{self, assert_same, missing, read, run_ok, tempdir, tool};
use kimage::internals::fdt::{Dtb, Flat, MAX_DEPTH, Node, Property, Reservation, Strings, Tree};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use std::process::Command;

fn blob(root: &Node<'_>, reservations: &[Reservation], boot_cpu: u32) -> Vec<u8> {
    let flat = Flat::new(root, Strings::default()).unwrap();
    let flat = flat.with_reservations(reservations).unwrap().with_boot_cpu(boot_cpu);
    let plan = flat.plan(0).unwrap();
    let mut out = Vec::new();
    plan.emit(&mut out).unwrap();
    assert_eq!(out.len() as u64, flat.size());
    assert_eq!(Dtb::parse_at(&out, 0).unwrap().regions().unwrap(), plan.regions());
    out
}

/// What we make of a blob's tree is what dtc makes of it.
fn same_as_dtc(what: &str, bytes: &[u8]) {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = tempdir();
    let (theirs, input) = (dir.path().join("theirs.dtb"), dir.path().join("input.dtb"));
    fs::write(&input, bytes).unwrap();
    run_ok(Command::new(dtc).args(["-q", "-q", "-I", "dtb", "-O", "dtb", "-o"]).args([&theirs, &input]));
    let read_again = Dtb::parse_at(bytes, 0).unwrap();
    let root = Node::from(read_again.tree().unwrap().root());
    let theirs = read(&theirs);
    let boot_cpu = Dtb::parse_at(&theirs, 0).unwrap().boot_cpu();
    assert_same(what, &blob(&root, &read_again.reservations().unwrap(), boot_cpu), &theirs);
}

#[test]
fn trees_of_the_corpus_come_out_as_dtc_writes_them() {
    let mut seen = 0;
    for tree in support::arm_trees().into_iter() {
        for entry in fs::read_dir(tree.path("arch/arm/boot/dts")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|ext| ext == "dtb") {
                let bytes = read(&entry.path());
                same_as_dtc(&entry.path().display().to_string(), &bytes);
                let blob = Dtb::parse_at(&bytes, 0).unwrap();
                let tree = blob.tree().unwrap();
                assert!(tree.root().property("compatible").unwrap().strings().unwrap()[0].contains(','));
                assert!(tree.find("/cpus").is_some_and(|cpus| cpus.children().count() > 1));
                seen += 1;
            }
        }
    }
    if seen == 0 {
        missing("no device tree in the corpus");
    }
}

/// QEMU writes its trees with libfdt: holes, another order of the blocks' strings, reservations.
#[test]
fn trees_of_qemu() {
    for (qemu, machines) in [("qemu-system-arm", ["virt", "virt,gic-version=2"])] {
        let Some(qemu) = tool(qemu, qemu) else { return };
        for machine in machines {
            let dir = tempdir();
            let file = dir.path().join("dtb");
            let machine = format!("{machine},dumpdtb={}", file.display());
            run_ok(Command::new(&qemu).args(["-M", &machine, "-display", "none"]));
            same_as_dtc(&machine, &read(&file));
        }
    }
}

/// dtc prints what it reads in our blob: names, values, reservations.
#[test]
fn dtc_reads_what_we_write() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let root = Node::new("")
        .with(Property::string("description", "a \"tree\""))
        .with(Property::u32("#address-cells", 1))
        .with_child(
            Node::new("a@1").with(Property::u64("reg", 0x1_0000_0002)).with(Property::bytes("cells", Vec::new())),
        )
        .with_child(Node::new("b").with(Property::strings("list", ["one", "two"])));
    let bytes = blob(&root, &[Reservation { address: 0x1000, size: 0x2000 }], 3);
    let dir = tempdir();
    let file = dir.path().join("dtb");
    fs::write(&file, &bytes).unwrap();
    let text = support::stdout(&run_ok(Command::new(dtc).args(["-q", "-q", "-I", "dtb", "-O", "dts"]).arg(&file)));
    for line in [
        "/memreserve/\t0x0000000000001000 0x0000000000002000;",
        "description = \"a \\\"tree\\\"\";",
        "reg = <0x01 0x02>;",
        "cells;",
        "list = \"one\\0two\";",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // `cells` stands at the end of `#address-cells`.
    assert_eq!(memchr::memmem::find_iter(&bytes, b"cells\0").count(), 1);
}

#[test]
fn absurd_trees_are_refused() {
    let deep = |depth: usize| {
        let mut words = vec![];
        words.extend(std::iter::repeat_n([1_u32, u32::from_be_bytes(*b"n\0\0\0")], depth).flatten());
        words[1] = 0;
        words.extend(std::iter::repeat_n(2_u32, depth));
        words.push(9);
        around(&words)
    };
    let at_limit = deep(MAX_DEPTH);
    assert_eq!(Dtb::parse_at(&at_limit, 0).unwrap().tree().unwrap().nodes().count(), MAX_DEPTH);
    let name = u32::from_be_bytes(*b"n\0\0\0");
    for (words, field, at) in [
        (vec![], "token", 56),
        (vec![9], "token", 56),
        (vec![2], "token", 56),
        (vec![3, 0, 0], "token", 56),
        (vec![1, 0, 9], "token", 64),
        (vec![1, 0, 7], "token", 64),
        (vec![1, 0, 2, 1, 0, 2, 9], "token", 68),
        (vec![1, 0, 2], "token", 68),
        (vec![1, 0, 1, 0, 2, 2, 9], "node name", 68),
        (vec![1, u32::from_be_bytes(*b"long")], "node name", 60),
        (vec![1, 0, 1, u32::from_be_bytes(*b"a/b\0"), 2, 2, 9], "node name", 69),
        (vec![1, 0, 1, u32::from_be_bytes(*b"\xff\0\0\0"), 2, 2, 9], "node name", 68),
        (vec![1, 0, 1, name, 2, 3, 0, 0, 2, 9], "token", 76),
        (vec![1, 0, 3, 0, 99, 2, 9], "property name", 72),
        (vec![1, 0, 3, 100, 0, 2, 9], "property value", 76),
        (vec![1, 0, 3, u32::MAX, 0, 2, 9], "property value", 76),
    ] {
        let blob = around(&words);
        let error = Dtb::parse_at(&blob, 0).unwrap().tree().map(|_| ()).expect_err(&format!("{words:x?}"));
        assert_eq!((&*error.field, error.at.0), (field, at), "{words:x?}: {error}");
        assert!(!error.help.is_empty());
    }
    let too_deep = deep(MAX_DEPTH + 1);
    let error = Dtb::parse_at(&too_deep, 0).unwrap().tree().unwrap_err();
    assert_eq!(&*error.field, "depth of nodes");
    // A million nodes: no memory is spent on more than a board could have.
    let mut many = vec![1, 0];
    many.extend(std::iter::repeat_n([1, name, 2], 1 << 19).flatten());
    many.extend([2, 9]);
    let many = around(&many);
    let error = Dtb::parse_at(&many, 0).unwrap().tree().unwrap_err();
    assert_eq!(&*error.field, "number of nodes");
}

/// A blob of these tokens, with one string `x`.
fn around(words: &[u32]) -> Vec<u8> {
    let structure = 4 * words.len() as u32;
    let header = [0xd00d_feed, 58 + structure, 56, 56 + structure, 40, 17, 16, 0, 2, structure, 0, 0, 0, 0];
    header.iter().chain(words).flat_map(|word| word.to_be_bytes()).chain(*b"x\0").collect()
}

/// Version 16 has no `size_dt_struct`, and tokens that mean nothing may stand anywhere.
#[test]
fn version_16_and_nops() {
    let mut blob = around(&[4, 1, 0, 4, 3, 4, 0, 7, 4, 2, 4, 9]);
    blob[23] = 16;
    // What follows the ninth word of the header is no size but whatever the writer left there.
    blob[36..40].fill(0xff);
    let dtb = Dtb::parse_at(&blob, 0).unwrap();
    let tree = dtb.tree().unwrap();
    assert_eq!(tree.root().property("x").unwrap().u32(), Some(7));
    let names = dtb.regions().unwrap().iter().map(|region| region.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names, ["header", "padding", "reservations", "structure", "strings"]);
}

#[test]
fn names_that_no_reader_could_read() {
    for name in ["", "a/b", "a\0b"] {
        let root = Node::new("").with_child(Node::new(name));
        assert!(Flat::new(&root, Strings::default()).is_err(), "{name:?}");
    }
    let root = Node::new("").with(Property::bytes("a\0b", Vec::new()));
    assert!(Flat::new(&root, Strings::default()).is_err());
    let mut deep = Node::new("deepest");
    for _ in 0..MAX_DEPTH {
        deep = Node::new("n").with_child(deep);
    }
    deep.name = "".into();
    assert!(Flat::new(&deep, Strings::default()).is_err());
}

fn any_node() -> impl Strategy<Value = Node<'static>> {
    let bytes = prop_oneof![vec(any::<u8>(), 0..9), vec(any::<u8>(), 4094..4099)];
    let property = ("[a-z,#.-]{1,12}", bytes).prop_map(|(name, value)| Property::bytes(name, value));
    let name = "[a-z]{1,9}(@[0-9a-f]{1,5})?";
    let leaf = (name, vec(property.clone(), 0..5)).prop_map(|(name, properties)| Node {
        name: name.into(),
        properties,
        children: Vec::new(),
    });
    leaf.prop_recursive(4, 20, 4, move |inner| {
        (name, vec(property.clone(), 0..5), vec(inner, 0..4)).prop_map(|(name, properties, children)| Node {
            name: name.into(),
            properties,
            children,
        })
    })
}

fn values<'a>(tree: &Tree<'a>) -> Vec<(String, &'a str, u64)> {
    let all = tree.nodes().flat_map(|node| node.properties().iter().map(move |property| (node.path(), property)));
    all.map(|(path, property)| (path, property.name, property.at.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Owned values are copied among the tokens, borrowed ones become pieces of their own: the bytes are the same, and
    /// the reader finds the tree that was written.
    #[test]
    fn what_is_written_is_read(mut root in any_node(), address in 1_u64.., boot_cpu: u32) {
        root.name = "".into();
        let reservations = [Reservation { address, size: address >> 3 }];
        let bytes = blob(&root, &reservations, boot_cpu);
        let dtb = Dtb::parse_at(&bytes, 0).unwrap();
        let tree = dtb.tree().unwrap();
        let again = Node::from(tree.root());
        prop_assert_eq!(&again, &root);
        prop_assert_eq!(dtb.reservations().unwrap(), reservations);
        prop_assert_eq!(dtb.boot_cpu(), boot_cpu);
        prop_assert_eq!(&blob(&again, &reservations, boot_cpu), &bytes);
        let flat = Flat::new(&root, Strings::default()).unwrap().with_reservations(&reservations).unwrap();
        // Every property is where it was said to be, once.
        let mut said = Vec::new();
        flat.each_property(&mut |_, property, at| said.push((property.name.to_string(), at.start + 12)));
        let mut read: Vec<(String, u64)> =
            values(&tree).into_iter().map(|(_, name, at)| (name.to_string(), at)).collect();
        read.sort_by_key(|(_, at)| *at);
        prop_assert_eq!(said, read);
    }
}
