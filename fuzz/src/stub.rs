//! Images around the standalone boot stub.

use crate::simulated::{Load, elf, pack, simulate, wanted};
use kimage::assemble::StandaloneRequest;
use kimage::codec::{Codec, Parameters};
use kimage::elf::Elf;

/// Takes what is to be chosen from the front of the input; zeros when there is nothing left.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn half(&mut self) -> u64 {
        u64::from(self.byte()) << 8 | u64::from(self.byte())
    }

    /// Segments that do not overlap, in any order, with holes between them.
    fn loads(&mut self) -> Vec<Load> {
        let mut at = (256 + self.half() % 0x3f00) << 12;
        let count = 1 + self.byte() % 5;
        let turn = usize::from(self.byte() % count);
        let mut loads = Vec::new();
        for _ in 0..count {
            at += (u64::from(self.byte() % 5) << 12) + self.half() % 4096;
            let (len, more, byte) = (self.half() % 9000, self.half() % 9000, self.byte());
            let bytes = (0..len).map(|index| byte.wrapping_mul(index as u8) ^ (index >> 7) as u8).collect();
            loads.push(Load { vaddr: at, paddr: at, bytes, memsz: len + more });
            at += len + more;
        }
        loads.rotate_left(turn);
        loads
    }
}

/// Any kernel is refused, or becomes an image that the stub takes; one that is right is never refused, and comes out.
pub fn standalone(bytes: &[u8]) {
    const CODECS: [Codec; 5] = [Codec::None, Codec::Lz4Legacy, Codec::Gzip, Codec::Zstd, Codec::Xz];
    const LOADED: u64 = 0x10_0000;
    let mut choices = Choices(bytes);
    let (how, codec) = (choices.byte(), choices.byte());
    let codec = CODECS[usize::from(codec) % CODECS.len()];
    let level = matches!(codec, Codec::Zstd | Codec::Gzip).then_some(1);
    let dictionary = (codec == Codec::Xz).then_some(1 << 14);
    let parameters = Parameters { level, dictionary, threads: 1, ..Parameters::default() };
    let mut request = StandaloneRequest {
        codec,
        parameters,
        kaslr: how & 0x10 == 0,
        efi: how & 0x20 == 0,
        crc: how & 0x40 != 0,
        max_memory: 4 << 20,
        ..StandaloneRequest::default()
    };
    if how & 1 == 0 {
        let loads = choices.loads();
        let live: Vec<Load> = loads.iter().filter(|load| load.memsz > 0).cloned().collect();
        let Some(entered) = live.get(usize::from(choices.byte()) % live.len().max(1)) else { return };
        let entry = entered.paddr + choices.half() % entered.memsz;
        let cmdline_len = usize::from(choices.byte() % 40).min(choices.0.len());
        let (cmdline, disks) = choices.0.split_at(cmdline_len);
        request.cmdline = cmdline;
        request.initrd = disks.chunks(50).take(2).collect();
        request.max_memory = 64 << 20;
        if cmdline.contains(&0) {
            return;
        }
        let image = pack(&elf(how & 2 == 0, entry, &loads), &request).unwrap();
        let simulated = simulate(&image, codec, LOADED, 0);
        assert!(simulated.memory == wanted(&live));
        assert_eq!(simulated.parameters.load_min + simulated.entry as u64, entry);
        return;
    }
    // The file itself, with a relocation table of the input's.
    let table = (usize::from(choices.byte()) * 4).min(choices.0.len());
    let (table, kernel) = choices.0.split_at(if how & 2 == 0 { 0 } else { table });
    request.relocs = (how & 2 != 0).then_some(table);
    if Elf::parse(kernel).is_err() && how & 4 == 0 {
        return;
    }
    if let Ok(image) = pack(kernel, &request) {
        simulate(&image, codec, LOADED, if how & 8 == 0 { 0x1280_0000 } else { 0 });
    }
}
