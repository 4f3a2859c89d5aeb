//! `cargo bench --bench stages [-- NAME]`: what each stage of a pipeline costs by itself, in memory.
//!
//! On the kernels of the corpus, and on generated files, which show how a stage grows.

#[path = "common/generate.rs"]
mod generate;
#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use generate::ElfFile;
use kimage::assemble::{self, CrcChoice, UImageRequest};
use kimage::elf::{Elf, FlatOptions, flatten};
use kimage::internals::{VOFFSET, offsets};
use std::hint::black_box;
use std::io;
use support::Tree;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let input = Input::read();
    input.elf(&mut criterion);
    input.bzimage(&mut criterion);
    input.zimage(&mut criterion);
    input.uimage(&mut criterion);
    criterion.final_summary();
}

/// Files in memory, by name.
struct Input {
    kernels: Vec<(String, Vec<u8>)>,
    /// `compressed/vmlinux` and `setup.bin`.
    x86: Vec<(String, Vec<u8>, Vec<u8>)>,
    /// `compressed/vmlinux` or a zImage.
    arm: Vec<(String, Vec<u8>)>,
    /// Uncompressed kernels for any CPU.
    images: Vec<(String, Vec<u8>)>,
}

impl Input {
    fn read() -> Input {
        let trees = || support::corpus().iter();
        let named = |tree: &Tree, file: &str| (tree.name.clone(), tree.read(file));
        let mut kernels: Vec<_> = trees().map(|tree| named(tree, "vmlinux")).collect();
        let mut x86: Vec<_> = trees()
            .filter(|tree| tree.is_x86())
            .map(|tree| {
                let (name, vmlinux) = named(tree, "arch/x86/boot/compressed/vmlinux");
                (name, vmlinux, tree.read("arch/x86/boot/setup.bin"))
            })
            .collect();
        let mut arm: Vec<_> =
            trees().filter(|tree| tree.is_arm()).map(|tree| named(tree, "arch/arm/boot/compressed/vmlinux")).collect();
        let mut images: Vec<_> =
            trees().filter(|tree| tree.is_arm()).map(|tree| named(tree, "arch/arm/boot/Image")).collect();

        let generated = |what: &str| format!("generated-{what}");
        kernels.push((generated("40M"), ElfFile::debug_kernel(40 << 20, 8 << 20, 200_000).bytes()));
        let decompressor = ElfFile::decompressor(12 << 20);
        x86.push((generated("12M"), decompressor.bytes(), ElfFile::setup(&decompressor).bytes()));
        arm.push((generated("zImage-12M"), zimage(12 << 20)));
        images.push((generated("33M"), noise(33_000_000)));
        Input { kernels, x86, arm, images }
    }

    fn elf(&self, criterion: &mut Criterion) {
        let parsed: Vec<(&String, &[u8], Elf<'_>)> =
            self.kernels.iter().map(|(name, bytes)| (name, &bytes[..], Elf::parse(bytes).unwrap())).collect();

        let mut group = criterion.benchmark_group("elf/parse");
        for (name, bytes, elf) in &parsed {
            group.throughput(Throughput::Elements(elf.sections().len() as u64));
            group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| Elf::parse(black_box(bytes))));
        }
        group.finish();

        let mut group = criterion.benchmark_group("elf/flatten-plan");
        for (name, _, elf) in &parsed {
            group.throughput(Throughput::Elements(elf.sections().len() as u64));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| flatten(black_box(elf), &FlatOptions::default()).unwrap());
            });
        }
        group.finish();

        let mut group = criterion.benchmark_group("elf/symbols");
        for (name, _, elf) in &parsed {
            group.throughput(Throughput::Elements(elf.symbols().unwrap().count() as u64));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| offsets(black_box(elf), VOFFSET, None).unwrap());
            });
        }
        group.finish();
    }

    fn bzimage(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("bzimage/plan+emit");
        for (name, vmlinux, setup) in &self.x86 {
            let assemble = || assemble::bzimage(black_box(vmlinux), black_box(setup), CrcChoice::Yes).unwrap();
            group.throughput(Throughput::Bytes(assemble().plan.len()));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| assemble().emit(io::sink()).unwrap());
            });
        }
        group.finish();
    }

    /// Planning alone: without a digest, writing is the writer's business.
    fn zimage(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("zimage/plan");
        for (name, vmlinux) in &self.arm {
            let assemble = || assemble::zimage(black_box(vmlinux), &[]).unwrap();
            group.throughput(Throughput::Bytes(assemble().plan.len()));
            group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(assemble));
        }
        group.finish();
    }

    fn uimage(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("uimage/plan+emit");
        // -A arm -T kernel -C none -a 0x8000 -n bench
        let request = UImageRequest {
            arch: Some(2),
            kind: Some(kimage::internals::kind::KERNEL),
            comp: Some(0),
            load: Some(0x8000),
            name: Some(b"bench".to_vec()),
            ..UImageRequest::default()
        };
        for (name, data) in &self.images {
            group.throughput(Throughput::Bytes(data.len() as u64));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| assemble::uimage(&request, &[black_box(data)], &[]).unwrap().emit(io::sink()).unwrap());
            });
        }
        group.finish();
    }
}

fn noise(len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    generate::noise(1, len, |block| {
        bytes.extend_from_slice(block);
        Ok(())
    })
    .unwrap();
    bytes
}

/// An ARM zImage with the fields that every one has.
fn zimage(len: u32) -> Vec<u8> {
    let mut bytes = noise(len.into());
    for (at, word) in [(0x24, 0x016f_2818), (0x28, 0), (0x2c, len), (0x30, 0x0403_0201), (0x34, 0)] {
        bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
    }
    bytes
}
