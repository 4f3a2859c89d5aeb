//! Containers of boot loaders, each by its own specification.

use super::{breaks, each_breaks_one_rule, rules};
use crate::files::{self, blob};
use kimage::internals::fdt::{Node, Property};
use kimage::internals::kind;

/// An arm64 `Image`, whose reserved words are zero.
fn arm64() -> Vec<u8> {
    let mut image = files::image64(b"ARM\x64");
    image[32] = 0;
    image
}

/// Documentation/arch/arm64/booting.rst: bits 4 to 63 of the flags and res2 to res4 are zero; image_size is that in memory.
#[test]
fn image_and_zboot() {
    let whole = arm64();
    let cases: &[super::Case<'_>] = &[
        ("image.constant", &[(24, &[0x1a])]),
        ("image.constant", &[(40, &[1])]),
        ("image.size", &[(16, &[0x10, 0, 0])]),
    ];
    // Without a PE header nothing says how long it is.
    each_breaks_one_rule("Image", &whole, &["kernel.no_end"], cases);
    let zboot = files::zboot();
    let before: Vec<&str> = rules(&zboot).into_iter().collect();
    each_breaks_one_rule("zboot", &zboot, &before, &[("zboot.constant", &[(16, &[1])])]);
}

/// The word at `at` becomes `value`, and the header's sum right again.
fn uimage_with(mut file: Vec<u8>, at: usize, value: u32) -> Vec<u8> {
    file[at..at + 4].copy_from_slice(&value.to_be_bytes());
    file[4..8].fill(0);
    let sum = crc32fast::hash(&file[..64]);
    file[4..8].copy_from_slice(&sum.to_be_bytes());
    file
}

#[test]
fn what_is_behind_and_inside_a_uimage() {
    let whole = files::uimage(kind::KERNEL, &[&files::gzip(&files::image64(b"ARM\x64"))]);
    breaks("uimage.size", &whole, &[&whole[..], b"tail"].concat());
    // mkimage's type firmware_ivt counts the boot ROM's signature data, which is put behind it later (tools/default_image.c:
    // 0x2060 bytes from the table of 0x20 on).
    let mut firmware = files::uimage(5, &[&[9; 1000]]);
    firmware[30] = 32;
    let firmware = uimage_with(firmware, 12, 1000 + 0x2060 - 0x20);
    breaks("uimage.csf", &firmware, &[&firmware[..], &[1; 0x2060 - 0x20]].concat());
    // A script's table: its only file's size, six bytes less than there are.
    let script = files::uimage(kind::SCRIPT, &[b"echo hello\n"]);
    let mut changed = script.clone();
    changed[67] -= 6;
    let data = crc32fast::hash(&changed[64..]);
    breaks("uimage.table", &script, &uimage_with(changed, 24, data));
}

/// Devicetree Specification 0.4, 5.2 and 5.5: last_comp_version is 16; each string ends with a NUL.
#[test]
fn device_trees() {
    let mut whole = files::dtb();
    let word = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().unwrap());
    let (total, strings) = (word(4) + 4, word(32) + 4);
    assert_eq!((word(12) + word(32), word(4)), (total - 4, total - 4), "the strings are last");
    // Bytes that belong to no block; then to the strings.
    whole.extend(b"text");
    whole[4..8].copy_from_slice(&total.to_be_bytes());
    each_breaks_one_rule(
        "device tree",
        &whole,
        &[],
        &[("dtb.header", &[(24, &[0, 0, 0, 17])]), ("dtb.blocks", &[(32, &strings.to_be_bytes())])],
    );
    breaks("dtb.totalsize", &whole, &[&whole[..], &[0x11; 8]].concat());
}

/// What a test changes: nodes of the FIT by their paths.
struct Parts<'n> {
    root: Node<'n>,
    images: Node<'n>,
    kernel: Node<'n>,
    tree: Node<'n>,
    configurations: Node<'n>,
    configuration: Node<'n>,
}

/// A FIT that U-Boot boots: doc/usage/fit/source_file_format.rst. `change` changes its nodes before they are put together.
fn fit(change: impl FnOnce(&mut Parts<'_>)) -> Vec<u8> {
    let kernel = files::gzip(&arm64());
    let image = |name: &'static str, kind: &str, data: Vec<u8>| {
        let digest = crc32fast::hash(&data);
        let hash = Node::new("hash-1").with(Property::string("algo", "crc32")).with(Property::u32("value", digest));
        let node = Node::new(name).with(Property::string("type", kind)).with(Property::bytes("data", data));
        node.with(Property::string("arch", "arm64")).with_child(hash)
    };
    let kernel = image("kernel-1", "kernel", kernel)
        .with(Property::string("os", "linux"))
        .with(Property::string("compression", "gzip"))
        .with(Property::u32("load", 0x8000))
        .with(Property::u32("entry", 0x8000));
    let tree = image("fdt-1", "flat_dt", files::dtb()).with(Property::string("compression", "none"));
    let root = Node::new("").with(Property::string("description", "tiny")).with(Property::u32("timestamp", 1));
    let configuration =
        Node::new("conf-1").with(Property::string("kernel", "kernel-1")).with(Property::string("fdt", "fdt-1"));
    let configurations = Node::new("configurations").with(Property::string("default", "conf-1"));
    let mut parts = Parts { root, images: Node::new("images"), kernel, tree, configurations, configuration };
    change(&mut parts);
    let Parts { root, images, kernel, tree, configurations, configuration } = parts;
    let images = images.with_child(kernel).with_child(tree);
    blob(&root.with_child(images).with_child(configurations.with_child(configuration)))
}

fn set<'n>(node: &mut Node<'n>, property: Property<'n>) {
    node.properties.retain(|other| other.name != property.name);
    node.properties.push(property);
}

#[test]
fn fits() {
    let whole = fit(|_| {});
    assert_eq!(rules(&whole), super::Rules::new());
    breaks("fit.no_default", &whole, &fit(|parts| parts.configurations.properties.clear()));
    breaks(
        "fit.compatible",
        &whole,
        &fit(|parts| {
            set(&mut parts.configuration, Property::string("compatible", "other,board"));
        }),
    );
    // What U-Boot does not look into to choose by its board, unless the configuration says itself for which it is.
    let packed = |parts: &mut Parts<'_>| {
        parts.tree.children.clear();
        set(&mut parts.tree, Property::bytes("data", files::gzip(&files::dtb())));
        set(&mut parts.tree, Property::string("compression", "gzip"));
    };
    breaks("fit.compatible_unread", &whole, &fit(packed));
    let named = fit(|parts| {
        packed(parts);
        set(&mut parts.configuration, Property::string("compatible", "a,board"));
    });
    assert_eq!(rules(&named), super::Rules::new());
    let encrypted = fit(|parts| parts.tree.children.push(Node::new("cipher").with(Property::string("algo", "aes128"))));
    assert!(rules(&encrypted).contains("fit.compatible_unread"));
    breaks(
        "fit.compression",
        &whole,
        &fit(|parts| {
            set(&mut parts.kernel, Property::string("compression", "bzip2"));
        }),
    );
    let cipher = || Node::new("cipher").with(Property::string("algo", "aes128"));
    breaks("fit.not_encrypted", &whole, &fit(|parts| parts.kernel.children.push(cipher())));
    breaks(
        "fit.cipher",
        &whole,
        &fit(|parts| {
            parts.kernel.children.push(cipher());
            set(&mut parts.kernel, Property::u32("data-size-unciphered", 7));
        }),
    );
    breaks("fit.dm_verity", &whole, &fit(|parts| parts.kernel.children.push(Node::new("dm-verity"))));
    let tree = |algo: &'static str| {
        let node = Node::new("dm-verity").with(Property::string("algo", algo)).with(Property::bytes("salt", vec![1]));
        let node = node.with(Property::bytes("digest", vec![1; 32])).with(Property::u32("num-data-blocks", 1));
        ["hash-start-block", "data-block-size", "hash-block-size"].into_iter().fold(node, |node, name| {
            node.with(Property::u32(name, if name.starts_with("hash-start") { 1 } else { 512 }))
        })
    };
    breaks("fit.dm_verity_digest", &whole, &fit(|parts| parts.kernel.children.push(tree("blake2b-512"))));
    breaks("fit.dm_verity_tree", &whole, &fit(|parts| parts.kernel.children.push(tree("sha256"))));
    // External data of one image inside of the other's.
    let external = |from: u32| {
        let mut file = fit(|parts| {
            for (node, at) in [(&mut parts.kernel, 0), (&mut parts.tree, from)] {
                node.properties.retain(|property| property.name != "data");
                node.children.clear();
                set(node, Property::u32("data-offset", at));
                set(node, Property::u32("data-size", files::dtb().len() as u32));
            }
            set(&mut parts.kernel, Property::string("type", "firmware"));
            set(&mut parts.tree, Property::string("type", "firmware"));
            parts.kernel.properties.retain(|property| property.name != "compression");
            parts.configuration.properties.clear();
            set(&mut parts.configuration, Property::string("firmware", "kernel-1"));
        });
        file.resize(file.len().next_multiple_of(4), 0);
        [file, files::dtb(), files::dtb()].concat()
    };
    breaks("fit.overlap", &external(files::dtb().len() as u32), &external(8));
}

/// A configuration's signature lists the configuration, its images and their hashes, or it is that of another one
/// (CVE-2020-10648).
#[test]
fn signatures_of_fits() {
    let signed = |paths: &[&str]| {
        let signature = Node::new("signature-1")
            .with(Property::string("algo", "sha256,rsa2048"))
            .with(Property::bytes("value", vec![7; 256]))
            .with(Property::strings("hashed-nodes", paths.iter().copied()));
        fit(|parts| parts.configuration.children.push(signature))
    };
    let all = [
        "/",
        "/configurations/conf-1",
        "/images/kernel-1",
        "/images/kernel-1/hash-1",
        "/images/fdt-1",
        "/images/fdt-1/hash-1",
    ];
    breaks("fit.signature", &fit(|_| {}), &signed(&all));
    for lost in 1..all.len() {
        let mut paths = all.to_vec();
        paths.remove(lost);
        breaks("fit.hashed_nodes", &signed(&all), &signed(&paths));
    }
}

/// A zImage around kimage's own boot stub: the size of the BSS in its parameters, and a byte of its code.
#[test]
fn a_zimage_around_the_built_in_stub() {
    let kernel = b"Linux version 6.1.0-tiny (someone) #1\n\0".repeat(99);
    let mut whole = Vec::new();
    let request = kimage::assemble::ZImageRequest::default();
    kimage::assemble::zimage_standalone(&kernel, &request).unwrap().emit(&mut whole).unwrap();
    each_breaks_one_rule(
        "zImage",
        &whole,
        &[],
        &[("zimage.stub_places", &[(0x58, &[1])]), ("zimage.stub", &[(0x100, &[1])])],
    );
}
