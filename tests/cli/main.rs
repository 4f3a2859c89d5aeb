//! The command as its users meet it.

mod bench_command; // `bench` compresses what a kernel's build compresses, and hides no failure
mod bench_report; // the table and plot of given figures (goldens); no name covers another
mod command; // exit codes, where text and data go, and that a failure never harms a file
mod cost; // small files made to cost much cost little, by CPU time and memory of the whole command
mod docs; // the commands of README and docs/ are run, or the reason why not stands there
mod faults; // a kill -9, failing calls and others in the folder leave nothing and lose nothing
mod json; // each JSON form is as its schema says, and each command prints its schema
mod outputs; // links, signals, full disks and deceiving names do no harm

#[path = "../support/costly.rs"]
mod costly;
#[path = "../support/elf.rs"]
mod elf_builder;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/mod.rs"]
mod support;
