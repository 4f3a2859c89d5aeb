//! What the loader's side costs, in instructions executed: from the entry of an image to the kernel's first instruction.
//!
//! `cargo bench --bench instructions`. Each kernel of the corpus in its own image, and in ours with the same codec; without
//! a codec beside a plain copy of the kernel. Counted by QEMU, exactly (tests/count.sh): the same number each time, however
//! busy the machine is.

#[path = "../tests/support/counted.rs"]
mod counted;
#[path = "../tests/support/boot.rs"]
mod machine;
#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    // `cargo test --all-targets` only wants to know that it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let dir = support::tempdir();
    let pcs = counted::counting_pc().map(|qemu| counted::pcs(&qemu, dir.path()));
    let arms = counted::counting_arm().map(|qemu| counted::arms(&qemu, dir.path()));
    println!("{:<42} {:>12} {:>12}  ratio  goal", "millions of instructions", "kernel's", "ours");
    for row in [pcs, arms].into_iter().flatten().flatten() {
        let [theirs, ours] = [row.theirs, row.ours].map(|count| count as f64 / 1e6);
        println!("{:<42} {theirs:>12.2} {ours:>12.2}  {:>5.2}  {:>4}", row.name, row.ratio(), row.goal);
    }
}
