//! Where the boot stub puts a kernel by what a boot loader says: never on what must be kept, however much that is.

#![allow(unsafe_code, reason = "the stub's own files read memory")]

#[path = "../support/loader_side.rs"]
mod loader_side;

use crate::support::noise;
use loader_side::boot_params::at;
use loader_side::memory::Span;
use loader_side::parameters::{Parameters, RELOCATABLE};
use loader_side::{Arena, any_place, decide, entry, paging::Tables, place};

const MIB: u64 = 1 << 20;

/// Memory for it, which the test keeps.
fn arena(memory: &mut Vec<u64>) -> Arena {
    memory.resize(8192, 0);
    unsafe { Arena::new(memory.as_mut_ptr().cast(), 8 * memory.len()) }
}

/// A kernel that takes 20 MiB at 16 MiB; the loader has put the image to 1 MiB.
fn image() -> Parameters {
    Parameters {
        flags: RELOCATABLE,
        load_min: 16 * MIB,
        align: 2 * MIB,
        init_size: 20 * MIB,
        run_at: 12 * MIB,
        span: 12 * MIB,
        file_len: 8 * MIB,
        ..Parameters::default()
    }
}

fn decided(arena: &Arena) -> Result<u64, String> {
    decide(&image(), arena.params(), MIB).map(|(at, random)| {
        assert!(!random);
        at
    })
}

/// What is in the way is found behind any number of others: 250 nodes of setup_data, the last of which means other memory.
#[test]
fn however_many_are_in_the_way() {
    let mut memory = Vec::new();
    let mut arena = arena(&mut memory);
    arena.map(&[(0, 1 << 32, 1)]);
    const COUNT: usize = 250;
    for (index, node) in (0..COUNT).map(|index| (index, 4096 + 64 * index)) {
        let next = if index + 1 < COUNT { arena.at(node + 64) } else { 0 };
        arena.node(node, next, 2, &[0; 8]);
    }
    arena.params().set_u64(at::SETUP_DATA, arena.at(4096));
    assert_eq!(decided(&arena), Ok(16 * MIB));
    let indirect = [[0; 8], 4096_u64.to_le_bytes(), (20 * MIB).to_le_bytes()].concat();
    arena.node(4096 + 64 * (COUNT - 1), 0, 1 << 31, &indirect);
    let said = decided(&arena).unwrap_err();
    assert!(said.starts_with("the setup data at 0x1400000 to 0x1401000 is in the way"), "{said}");
    // A list that bites its tail says nothing of what is behind.
    arena.write(4096 + 64 * (COUNT - 1), &arena.at(4096).to_le_bytes());
    assert_eq!(decided(&arena), Err("the list of the setup data has no end".to_owned()));
}

/// Memory in 200 pieces that are no neighbours, told out of order, is as good as one piece.
#[test]
fn however_many_pieces_of_memory() {
    let mut memory = Vec::new();
    let mut arena = arena(&mut memory);
    // Every other piece comes first: nothing is joined.
    let piece = |index: u64| (index * MIB / 4, MIB / 4, 1);
    let all: Vec<_> = (0..200).step_by(2).chain((1..200).step_by(2)).map(piece).collect();
    arena.map(&all[..100]);
    let more: Vec<u8> = all[100..].iter().flat_map(|(start, len, kind)| entry(*start, *len, *kind)).collect();
    arena.node(4096, 0, 1, &more);
    arena.params().set_u64(at::SETUP_DATA, arena.at(4096));
    assert_eq!(decided(&arena), Ok(16 * MIB));
    // The one before last: 99 is at 24.75 MiB.
    arena.node(4096, 0, 1, &[&more[..20 * 49], &more[20 * 50..]].concat());
    let said = decided(&arena).unwrap_err();
    assert!(said.ends_with("there is none at 0x18c0000"), "{said}");
}

/// The zero that ends a command line is part of it.
#[test]
fn the_command_lines_zero() {
    let mut memory = Vec::new();
    let mut arena = arena(&mut memory);
    arena.map(&[(0, 1 << 63, 1)]);
    arena.write(8192 - 5, b"quiet");
    arena.params().set_cmdline_at(arena.at(8192 - 5));
    // A kernel that begins where the zero stands.
    let zero = arena.at(8192);
    let p = Parameters { flags: 0, load_min: zero, align: 4096, file_len: 4096, ..image() };
    let said = decide(&p, arena.params(), MIB).unwrap_err();
    assert!(said.starts_with("the command line at "), "{said}");
    assert!(said.contains(&format!(" to {:#x} is in the way", zero + 1)), "{said}");
}

/// A node's header is mapped before it is read, and then all of it.
#[test]
fn mapped_before_it_is_read() {
    let mut memory = Vec::new();
    let mut arena = arena(&mut memory);
    arena.node(4096, arena.at(8192), 2, &[0; 100]);
    arena.node(8192, 0, 2, &[0; 7]);
    arena.params().set_u64(at::SETUP_DATA, arena.at(4096));
    let mut tables = Tables::default();
    place::map_inputs(&mut tables, arena.params(), Span::new(0, 1));
    let [first, second] = [4096, 8192].map(|offset| arena.at(offset));
    assert_eq!(tables.0[tables.0.len() - 4..], [(first, 16), (first, 116), (second, 16), (second, 23)]);
}

/// Page tables are what was asked for, and in their own memory: the fuzzer's check, with numbers of ours.
#[cfg(target_arch = "x86_64")]
#[test]
fn any_of_a_thousand_tables() {
    use loader_side::any_tables::{Room, any_tables};
    let room = Box::into_raw(Room::new());
    for seed in 0..1000 {
        any_tables(unsafe { &mut *room }, &noise(200, seed));
    }
    drop(unsafe { Box::from_raw(room) });
}

/// The fuzzer's check, with numbers of ours.
#[test]
fn any_of_a_thousand_machines() {
    for seed in 0..1000 {
        let mut memory = Vec::new();
        let mut arena = arena(&mut memory);
        any_place(&mut arena, &noise(if seed % 3 == 0 { 60 } else { 3000 }, seed));
    }
}
