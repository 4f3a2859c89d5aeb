//! The library's two users in `examples/` do what they say.

#[path = "../../examples/build_step.rs"]
#[allow(dead_code, unreachable_pub, reason = "a program of its own")]
mod build_step;
#[path = "../../examples/vmm.rs"]
#[allow(dead_code, unreachable_pub, reason = "a program of its own")]
mod vmm;

use crate::files;
use crate::support::{assert_same, kimage, make, put, read, run_ok, stdout, tempdir, testdata};
use kimage::codec::Codec;
use object::{Object, ObjectSegment};

/// The memory is what `object` says of the kernel's segments, whatever is around them; a small machine has no place for it.
#[test]
fn a_vmm_loads_the_kernel_of_any_file() {
    let dir = tempdir();
    let vmlinux = files::kernel();
    let elf = put(dir.path(), "vmlinux", &vmlinux);
    let (flat, size) = (object::File::parse(&*vmlinux).unwrap(), 32 << 20);
    let mut want = vec![0; size];
    for segment in flat.segments() {
        // The generator puts the segment at 16 MiB of physical memory.
        let data = segment.data().unwrap();
        want[0x100_0000..][..data.len()].copy_from_slice(data);
    }
    let bzimage = read(&make(dir.path(), "bzImage", "bzimage", &[&elf], &["--compress", "lz4"]));
    for file in [vmlinux.clone(), bzimage, files::packed(Codec::Xz, &vmlinux)] {
        let guest = vmm::load(&file, size).unwrap();
        assert_eq!(guest.entry, 0x100_0000);
        assert_same("the memory", &guest.memory, &want);
        assert!(vmm::load(&file, 1 << 20).unwrap_err().to_string().contains("behind the memory"));
    }
    assert!(vmm::load(&files::dtb(), size).unwrap_err().to_string().contains("no vmlinux"));
}

/// The step makes what the command makes of the same kernel.
#[test]
fn a_build_step_makes_a_uimage() {
    let dir = tempdir();
    let kernel = testdata("tiny/kernel");
    let image = build_step::build(&read(&kernel), "firmware").unwrap();
    let options = ["-n", "firmware", "--compress", "gzip", "--time", "0"];
    assert_same("uImage", &image, &read(&make(dir.path(), "uImage", "uimage", &[&kernel], &options)));
    let put = put(dir.path(), "built", &image);
    assert_eq!(stdout(&run_ok(kimage().args(["info", "--field", "ih_name"]).arg(&put))), "firmware\n");
    assert!(build_step::build(b"no kernel", "x").is_err());
}
