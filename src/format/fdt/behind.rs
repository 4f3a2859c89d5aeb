//! Device trees that stand one behind the other: behind a kernel, or in the `dtb` section of a boot image.
//!
//! Builders put them there back to back (`cat Image.gz a.dtb b.dtb`) or padded to 4 or 8 bytes or to a page, and what is
//! read back from flash ends with erased blocks: zeros or bytes of `0xff` between trees and behind them are padding. No
//! tree begins with such a byte.

use super::{Dtb, FDT_MAGIC};
use crate::bytes::{len64, slice};
use crate::layout::{Region, RegionKind};
use std::ops::Range;

/// What stands behind a kernel; all ranges count in the bytes that were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    /// The trees, in order.
    pub trees: Vec<Range<u64>>,
    /// Runs of zeros and of `0xff` before, between and behind them; none is empty.
    pub padding: Vec<Range<u64>>,
    /// Where something else begins, which goes on to the end; a tree that is damaged or cut off among it.
    pub rest: Option<Range<u64>>,
}

impl Behind {
    /// Reads trees and padding in `bytes` from `at` on, up to the end or to what is neither. Takes one pass.
    pub(crate) fn read(bytes: &[u8], at: u64) -> Behind {
        let mut found = Behind::default();
        let (mut at, end) = (at, len64(bytes));
        while at < end {
            let rest = slice(bytes, at, end - at).unwrap_or_default();
            let padding = Behind::padding_len(rest);
            if padding > 0 {
                found.padding.push(at..at + padding);
                at += padding;
                continue;
            }
            let Ok(tree) = Dtb::parse_at(rest, at) else {
                found.rest = Some(at..end);
                break;
            };
            let next = at + len64(tree.bytes());
            found.trees.push(at..next);
            at = next;
        }
        found
    }

    /// Trees with padding between them that go up to the end of `bytes`, wherever they begin: for kernels whose own end
    /// no header tells. Takes one pass from the back; `None` when the last of the bytes are no tree.
    pub(crate) fn at_end(bytes: &[u8]) -> Option<Behind> {
        let end = len64(bytes);
        // Heads of chains that reach the end, with where the padding in front of each begins; the last is the first of
        // the file.
        let last = Behind::before_padding(bytes, end)..end;
        let mut heads = vec![last];
        for at in memchr::memmem::rfind_iter(bytes, &FDT_MAGIC.to_be_bytes()) {
            let Ok(at) = u64::try_from(at) else { continue };
            let Ok(tree) = Dtb::parse_at(slice(bytes, at, end - at).unwrap_or_default(), at) else { continue };
            let tree_end = at + len64(tree.bytes());
            // A tree in the data of this one is none of the chain.
            let outside = heads.partition_point(|head| head.end >= tree_end);
            let next = outside.checked_sub(1).and_then(|last| heads.get(last));
            if next.is_some_and(|next| next.start <= tree_end) {
                heads.truncate(outside);
                heads.push(Behind::before_padding(bytes, at)..at);
            }
        }
        let first = heads.last().filter(|_| heads.len() > 1)?.end;
        Some(Behind::read(bytes, first))
    }

    /// Where the zeros and bytes of 0xff that end at `end` begin.
    pub(crate) fn before_padding(bytes: &[u8], end: u64) -> u64 {
        let before = slice(bytes, 0, end).unwrap_or_default();
        let kept = before.iter().rposition(|byte| !matches!(byte, 0 | 0xff)).map_or(0, |at| at + 1);
        u64::try_from(kept).unwrap_or(0)
    }

    /// Zeros and bytes of 0xff that `bytes` begin with.
    pub(crate) fn padding_len(bytes: &[u8]) -> u64 {
        let len = bytes.iter().position(|byte| !matches!(byte, 0 | 0xff)).unwrap_or(bytes.len());
        u64::try_from(len).unwrap_or(0)
    }

    /// Where the first tree begins; without one, the end of `bytes`, which are those that were read.
    pub(crate) fn start(&self, bytes: &[u8]) -> u64 {
        self.trees.first().map_or(len64(bytes), |first| first.start)
    }

    /// What was found, as regions: `dtb[N]`, `padding`, `trailer`; the first tree has the number `first`.
    pub(crate) fn regions(&self, first: usize) -> Vec<Region> {
        let trees = self.trees.iter().enumerate();
        let trees =
            trees.map(|(index, at)| Region::new(format!("dtb[{}]", first + index), at.clone(), RegionKind::Data));
        let padding = self.padding.iter().map(|at| Region::new("padding", at.clone(), RegionKind::Padding));
        let rest = self.rest.iter().map(|at| Region::new("trailer", at.clone(), RegionKind::Data));
        let mut regions: Vec<Region> = trees.chain(padding).chain(rest).collect();
        regions.sort_by_key(|region| region.at.start);
        let many = self.padding.len() > 1;
        let paddings = regions.iter_mut().filter(|region| many && region.kind == RegionKind::Padding);
        paddings.enumerate().for_each(|(index, region)| region.name = format!("padding[{index}]").into());
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fdt::tests::tiny;

    #[test]
    fn trees_with_padding_between() {
        let mut bytes = b"kernel".to_vec();
        bytes.extend(tiny());
        bytes.extend([0; 5]);
        bytes.extend(tiny());
        bytes.extend([0xff; 9]);
        let found = Behind::read(&bytes, 6);
        assert_eq!((found.trees.clone(), found.rest.clone()), (vec![6..78, 83..155], None));
        assert_eq!(found.padding, [78..83, 155..164]);
        assert_eq!(Behind::at_end(&bytes), Some(found));
        bytes.push(7);
        assert_eq!(Behind::read(&bytes, 6).rest, Some(164..165));
        // What is not at the end may be a tree that was built in.
        assert_eq!(Behind::at_end(&bytes), None);
    }

    #[test]
    fn trees_in_trees_and_cut_ones() {
        // A tree with another in its structure block: only the outer one counts.
        let mut outer = tiny();
        outer.extend(tiny());
        outer[7] = 144;
        outer[15] = 72 + 72;
        let mut bytes = vec![1; 10];
        bytes.extend(&outer);
        bytes.extend(tiny());
        assert_eq!(Behind::at_end(&bytes).unwrap().trees, [10..154, 154..226]);
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(Behind::at_end(cut), None);
        assert_eq!(Behind::read(cut, 10).rest, Some(154..225));
        assert_eq!(Behind::at_end(&[]), None);
    }

    #[test]
    fn many_heads_take_one_pass() {
        // Each magic number is a whole header whose tree leads nearly to the end: 100,000 of them.
        let mut bytes = Vec::new();
        for _ in 0..50_000 {
            bytes.extend(tiny());
        }
        bytes.push(1);
        let start = std::time::Instant::now();
        assert_eq!(Behind::at_end(&bytes), None);
        bytes.pop();
        assert_eq!(Behind::at_end(&bytes).unwrap().trees.len(), 50_000);
        assert!(start.elapsed().as_secs() < 5);
    }
}
