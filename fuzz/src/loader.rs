//! What the boot stub reads of boot loader and firmware: boot parameters, and the texts and logs of EFI.

#[path = "../../src/stub/efi_text.rs"]
mod efi_text;
#[allow(dead_code)]
#[path = "../../tests/support/loader_side.rs"]
mod loader_side;

#[allow(dead_code)]
#[path = "../../src/stub/sections.rs"]
mod sections;

use loader_side::{Arena, any_place, cmdline};

/// Any boot parameters, and any image: the kernel goes where memory is and nothing that must be kept, or is refused for a reason.
pub fn places(bytes: &[u8]) {
    const LEN: usize = 64 << 10;
    const AT: usize = 1 << 30;
    thread_local! {
        static MEMORY: *mut u8 = unsafe {
            let both = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            let start = libc::mmap(AT as *mut _, LEN, both, flags, -1, 0);
            assert!(start as usize == AT);
            start.cast()
        };
    }
    // Where a kernel may go, too.
    let mut arena = MEMORY.with(|memory| unsafe { Arena::new(*memory, LEN) });
    any_place(&mut arena, bytes);
}

/// Page tables of any pieces of memory, walked as a CPU walks them.
pub fn tables(bytes: &[u8]) {
    use loader_side::any_tables::{Room, any_tables};
    thread_local! {
        static ROOM: *mut Room = Box::into_raw(Room::new());
    }
    ROOM.with(|room| any_tables(unsafe { &mut **room }, bytes));
}

/// The sections of any program in memory, what load options choose of them, names of files beside it, and the archives that are made
/// of these. The input: a number, load options up to a zero, and the program.
pub fn sections(bytes: &[u8]) {
    let Some((number, bytes)) = bytes.split_first() else { return };
    let (options, image) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let (profile, _) = sections::choice(options);
    if let Ok(text) = std::str::from_utf8(options) {
        let words = text.strip_prefix('@').map(|text| text.split_once(' ').unwrap_or((text, "")));
        let chosen = words.filter(|(digits, _)| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let theirs = chosen.and_then(|(digits, rest)| Some((digits.parse().ok()?, rest.as_bytes())));
        assert_eq!(sections::choice(options), theirs.unwrap_or((0, options)));
    }
    let wide: Vec<u16> = options.iter().map(|byte| u16::from(*byte)).collect();
    if let Some(range) = sections::counter(&wide) {
        assert!(range.start < range.end && wide[range.clone()][0] == u16::from(b'+'));
        assert!(!wide[range.start..].contains(&u16::from(b'\\')));
    }
    for kind in sections::BESIDE {
        if kind.takes(&wide) {
            assert!(options.iter().all(|byte| matches!(byte, 0x20..0x7f) && !b"/\\".contains(byte)));
            let mut made = Vec::new();
            let inode = sections::folders(kind.path, kind.modes.0, &mut |piece| made.extend_from_slice(piece));
            let put = &mut |piece: &[u8]| made.extend_from_slice(piece);
            sections::file(inode, kind.modes.1, [kind.path.as_bytes(), options], image.len(), put);
            assert_eq!(made.len() % 4, 0);
        }
    }
    let mut out = vec![0; usize::from(*number) * 9];
    let (len, is_whole) = sections::tidy(image, &mut out);
    assert!(is_whole || len == out.len());
    assert!(out[..len].iter().all(|byte| *byte >= b' '));
    let Some(found) = sections::Sections::of(image) else { return };
    for profile in [0, 1, profile, usize::from(*number)] {
        let has = found.has_profile(profile);
        for name in sections::MEASURED.iter().chain(&sections::NOT_TAKEN).chain(&[".pcrsig"]) {
            if let Some(contents) = found.find(name, profile) {
                assert!(!contents.is_empty() && image.as_ptr_range().contains(&contents.as_ptr()));
            }
        }
        assert!(has || profile > 0);
    }
}

/// Load options, paths, command lines and event logs, beside Rust's own library.
pub fn told(bytes: &[u8]) {
    let Some(([room, kind], bytes)) = bytes.split_first_chunk::<2>() else { return };
    let units = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let mut out = vec![0xaa; usize::from(*room) * 4];
    let (len, is_whole) = efi_text::load_options(units(), &mut out);
    let first: Vec<u16> = units().take_while(|unit| !matches!(unit, 0 | 0x0a | 0x0d)).collect();
    let theirs = String::from_utf16_lossy(&first);
    assert!(theirs.as_bytes().starts_with(&out[..len]) && is_whole == (theirs.len() <= out.len()));
    assert!(!is_whole || len == theirs.len());
    let mut path = vec![0; usize::from(*room)];
    if let Ok(text) = std::str::from_utf8(bytes) {
        let wide: Vec<u16> = text.replace('/', "\\").encode_utf16().chain([0]).collect();
        let fits = wide.len() <= path.len() && text.chars().all(|one| u32::from(one) < 0x1_0000);
        assert_eq!(efi_text::file_path(bytes, &mut path).is_some(), fits);
        assert!(!fits || path[..wide.len()] == wide);
    } else {
        let _ = efi_text::file_path(bytes, &mut path);
    }
    let mut wide = vec![7; usize::from(*room)];
    let len = efi_text::utf16(bytes, &mut wide);
    assert!(wide[..len].last().is_none_or(|last| *last == 0) && wide[len..].iter().all(|unit| *unit == 7));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let theirs: Vec<u16> = text.encode_utf16().chain([0]).collect();
        assert!(theirs.len() > wide.len() || wide[..len] == theirs);
    }
    let (header, log) = bytes.split_at(bytes.len().min(usize::from(*kind)));
    let mut at = 0;
    while let Some(len) = efi_text::event_len(header, log, at).filter(|len| at + len <= log.len()) {
        assert!(len >= 16);
        at += len;
    }
    let _ = (efi_text::first_event_len(log), efi_text::e820_type(u32::from(*kind), u64::from(*room) << 16));
    for name in [&b"mem="[..], b"memmap=", b"initrd="] {
        for value in cmdline::values(bytes, name) {
            assert!(cmdline::has(bytes, &[name, value].concat()));
            let _ = cmdline::size(value);
        }
    }
}
