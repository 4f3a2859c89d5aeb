//! S/390's `bzImage`, whose decompressor tells nobody where the kernel is; and `image`, which is the kernel.

use super::{Child, Context, Decoded, Described, kernel};
use crate::bytes::{len64, slice_at};
use crate::codec::Codec;
use crate::format::{Format, flat, s390};
use crate::inspect::{Fact, Kind, Value};
use crate::layout::RegionKind;
use crate::payload::search::{find_stream, kernel_end};

pub(super) fn describe(bytes: &[u8], context: &Context<'_>) -> Described {
    let mut described = Described::new(Kind::Known(Format::S390), "S/390 bzImage");
    described.facts.push(Fact::new("arch", "S/390"));
    if let Some(text) = s390::version(bytes) {
        described.facts.push(Fact::new("kernel_version", Value::text(text)).of(s390::FIELDS));
    }
    if let Some(at) = s390::cmdline(bytes) {
        let text = slice_at(bytes, &at).unwrap_or(&[]);
        let fact = Fact::new("cmdline", Value::text(text)).at(at.start, at.end - at.start);
        described.facts.push(fact.meaning("where the boot loader gives none"));
        described.part("cmdline", at);
    }
    let end = len64(bytes);
    let judge = |codec, at: &_, tried: &_| kernel_end(bytes, codec, at, tried);
    match find_stream(bytes, end, &Codec::ALL, (context.left, context.budget), judge) {
        Some(found) => {
            let child = Child::range(super::PAYLOAD, found.at).kind(Kind::Known(Format::Compressed(found.codec)));
            let decoded = Some(Decoded { data: found.data, inflated: found.inflated });
            described.children.push(Child { decoded, ..child.scanned() });
            described.whole_part("decompressor", bytes);
        }
        // Before 2.6.36, and where CONFIG_KERNEL_UNCOMPRESSED says so.
        None if flat::has_banner(bytes) => {
            described.title = "S/390 image, not compressed".to_owned();
            described.whole_part("vmlinux", bytes);
            kernel::look_inside_flat(bytes, context, &mut described);
        }
        None => described.children.extend(Child::broken(0..end, context.budget)),
    }
    described.regions = kernel::child_regions(&described.children);
    kernel::fill_gaps(&mut described.regions, end, "code", RegionKind::Code);
    described
}
