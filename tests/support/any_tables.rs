//! The page tables that the boot stub makes, walked as a CPU walks them, beside what was asked of them.

use super::page_tables::Tables;
use super::{Choices, console::Halted, memory::Span};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const SMALL: u64 = 1 << 12;
const LARGE: u64 = 1 << 21;
const COUNT: usize = 40;

type Table = [u64; 512];

/// Memory for them, with a table before and behind that is not theirs.
#[repr(C, align(4096))]
pub struct Room([Table; COUNT + 2]);

impl Room {
    pub fn new() -> Box<Room> {
        Box::new(Room([[0; 512]; COUNT + 2]))
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Data(u64, u64),
    Code(u64, u64),
    Kernel(u64, u64),
}

/// May be written, may be executed.
type Rights = (bool, bool);

/// By the words of `paging.rs`, one address at a time.
fn wanted(asked: &[Asked], at: u64, can_no_execute: bool) -> Option<Rights> {
    let data = (true, !can_no_execute);
    let large = |start: u64, end: u64| at >= start & !(LARGE - 1) && at < end.next_multiple_of(LARGE);
    let (mut rights, mut is_small) = (None, false);
    for one in asked {
        match *one {
            Asked::Data(start, end) if large(start, end) && !is_small => rights = Some(data),
            Asked::Kernel(start, end) if large(start, end) => (rights, is_small) = (Some((true, true)), false),
            Asked::Code(start, end) if large(start, end) => {
                if !is_small {
                    (rights, is_small) = (Some(data), true);
                }
                if at >= start & !(SMALL - 1) && at < end.next_multiple_of(SMALL) {
                    let page = at & !(SMALL - 1);
                    let is_alone = start <= page && page + SMALL <= end;
                    rights = Some((!is_alone, true));
                }
            }
            _ => {}
        }
    }
    rights
}

/// Walks from the root; each table that is read is one of the room's.
fn walk(room: (u64, u64), root: u64, at: u64, levels: u32) -> Option<(u64, Rights)> {
    let (mut table, mut rights) = (root, (true, true));
    for level in (1..=levels).rev() {
        assert!(table % SMALL == 0 && table >= room.0 && table < room.1, "{table:#x} is no table of ours");
        let index = at >> (12 + 9 * (level - 1)) & 511;
        let entry = unsafe { ((table + 8 * index) as *const u64).read_volatile() };
        if entry & 1 == 0 {
            return None;
        }
        rights = (rights.0 && entry & 2 != 0, rights.1 && entry >> 63 == 0);
        let (next, is_last) = (entry & 0x000f_ffff_ffff_f000, level == 1 || entry & 0x80 != 0);
        if is_last {
            assert!(level <= 2, "a page of level {level}");
            let size = if level == 2 { LARGE } else { SMALL };
            assert_eq!(next % size, 0);
            return Some((next + at % size, rights));
        }
        table = next;
    }
    None
}

/// Any pieces of memory, asked for in any order, of tables with four levels or five, for a CPU with NX or without.
pub fn any_tables(room: &'static mut Room, input: &[u8]) {
    const NOT_OURS: Table = [0x5a5a_5a5a_5a5a_5a5b; 512];
    let mut choices = Choices(input);
    let how = choices.byte();
    let (levels, can_no_execute) = (4 + (how & 1) as u32, how & 2 == 0);
    // Not clean, as memory is.
    room.0.fill(NOT_OURS);
    let [before, tables @ .., behind] = &mut room.0;
    let own = tables.as_ptr_range();
    let own = (own.start as u64, own.end as u64);
    let mut tables = unsafe { Tables::of_none(tables, levels, can_no_execute) };
    let root = tables.root() as u64;
    // Half of what the levels reach, and no more than a CPU can have.
    let limit = if levels == 4 { 1_u64 << 47 } else { 1 << 52 };
    let (mut asked, mut is_whole): (Vec<Asked>, bool) = (Vec::new(), true);
    for _ in 0..choices.byte() % 24 {
        let kind = choices.byte();
        let start = match kind >> 2 & 3 {
            0 => choices.half() << 12,
            1 => choices.half() << 8,
            2 => limit.saturating_sub(choices.half() << 10),
            _ => choices.number(),
        };
        let len = choices.half() << (choices.byte() % 18);
        let mapped = |one: &Asked| match *one {
            Asked::Data(start, end) if start < end => Some((start, end)),
            _ => None,
        };
        let mapped: Vec<_> = asked.iter().filter_map(mapped).collect();
        let one = match (kind & 3, mapped.get(kind as usize >> 4)) {
            // Code lies in what is mapped, and is short.
            (0, Some(&(start, end))) => {
                let start = start + choices.half().min(end - start - 1);
                Asked::Code(start, end.min(start + 1 + len % (4 * LARGE)))
            }
            (1, Some(&(start, end))) => Asked::Kernel(start, end),
            _ => Asked::Data(start, start.saturating_add(len)),
        };
        let done = catch_unwind(AssertUnwindSafe(|| match one {
            Asked::Data(start, end) => tables.map(start, end - start),
            Asked::Kernel(start, end) => tables.map_kernel(start, end - start),
            Asked::Code(start, end) => tables.code(Span { start, end }),
        }));
        if let Err(why) = done {
            let halted = why.downcast::<Halted>().unwrap_or_else(|other| resume_unwind(other)).0;
            let is_beyond = matches!(one, Asked::Data(_, end) if end > limit);
            assert!(
                halted.starts_with(if is_beyond { "no page table reaches " } else { "out of page tables" }),
                "{halted}"
            );
            // What was given up half-way may be there, or not.
            is_whole = is_beyond;
            break;
        }
        asked.push(one);
    }
    for one in &asked {
        let (Asked::Data(start, end) | Asked::Code(start, end) | Asked::Kernel(start, end)) = *one;
        let (first, last) = (start & !(LARGE - 1), end.next_multiple_of(LARGE));
        for edge in [start, end, first, last, start / 2 + end / 2, choices.number() % limit] {
            for at in [edge.wrapping_sub(SMALL), edge.wrapping_sub(1), edge, edge.wrapping_add(SMALL)] {
                if at >= limit {
                    continue;
                }
                let found = walk(own, root, at, levels);
                assert!(found.is_none_or(|(to, _)| to == at), "{at:#x} is mapped elsewhere: {found:x?}");
                if is_whole {
                    let wanted = wanted(&asked, at, can_no_execute);
                    assert_eq!(found.map(|(_, rights)| rights), wanted, "{at:#x} of {asked:x?}");
                }
            }
        }
    }
    assert!(*before == NOT_OURS && *behind == NOT_OURS, "written beyond the tables");
}
