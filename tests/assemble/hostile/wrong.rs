//! The wrong file in the wrong place.

use super::*;

#[test]
fn the_wrong_file_gets_help() {
    let good = good();
    let mut image64 = vec![7; 200];
    image64[56..60].copy_from_slice(b"ARM\x64");
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let files: [(&str, &[u8]); 17] = [
        ("nothing", b""),
        ("one byte", b"\x7f"),
        ("text", b"#!/bin/sh\necho this is no kernel\n"),
        ("zeros", &[0; 4096]),
        ("gzip", &gzip),
        ("Image", &image64),
        ("vmlinux", &good.vmlinux),
        ("arm-vmlinux", &good.arm),
        ("setup.elf", &good.setup_elf),
        ("setup.bin", &good.setup),
        ("setup-7.bin", &good.setup_7),
        ("bzImage", &good.bzimage),
        ("zImage", &good.zimage),
        ("zImage with trees", &good.zimage_dtbs),
        ("uImage", &good.uimage),
        ("multi-file uImage", &good.multi),
        ("dtb", &good.dtb),
    ];
    let refused = |what: String, result: kimage::Result<Assembled<'_>>, fits: bool| match result {
        Ok(_) => assert!(fits, "{what} was accepted"),
        Err(error) => {
            assert!(!fits, "{what}: {error}");
            let complaint = Complaint::from(error);
            complaint.check();
            assert!(!complaint.help.is_empty(), "{what}: {complaint:?}");
        }
    };
    for (name, file) in files {
        for (other_name, other) in files {
            let fits = name == "vmlinux" && ["setup.bin", "setup-7.bin", "setup.elf"].contains(&other_name);
            let what = format!("kimage bzimage {name} {other_name}");
            refused(what, assemble::bzimage(file, other, CrcChoice::ByGeneration), fits);
            let arm = ["arm-vmlinux", "zImage", "zImage with trees"].contains(&name);
            let what = format!("kimage zimage {name} --append-dtb {other_name}");
            refused(what, assemble::zimage(file, &[other]), arm && other_name == "dtb");
            let what = format!("kimage uimage {name} --append-dtb {other_name}");
            let result = assemble::uimage(&UImageRequest::default(), &[file], &[other]);
            refused(what, result, name.starts_with("zImage") && other_name == "dtb");
        }
        let arm = ["arm-vmlinux", "zImage", "zImage with trees"].contains(&name);
        refused(format!("kimage zimage {name}"), assemble::zimage(file, &[]), arm);
        let elf = ["vmlinux", "arm-vmlinux", "setup.elf"].contains(&name);
        refused(format!("kimage image {name}"), assemble::image(file, &FlatOptions::default()), elf);
        // Any data is good whose CPU shows: that of a device tree, a text or a compressed nothing does not.
        let shows = elf || arm || ["Image", "setup.bin", "setup-7.bin", "bzImage"].contains(&name);
        refused(format!("kimage uimage {name}"), assemble::uimage(&UImageRequest::default(), &[file], &[]), shows);
    }
}
