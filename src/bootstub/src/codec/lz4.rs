//! LZ4's legacy frame: a magic number, then blocks, each with its length in front.

const MAGIC: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
/// Every block but the last unpacks to this.
const BLOCK: usize = 8 << 20;

pub fn decompress(input: &[u8], output: &mut [u8], _heap: &'static mut [u8]) -> Result<(), &'static str> {
    let mut rest = input.strip_prefix(MAGIC).ok_or("no LZ4 legacy frame")?;
    let mut done = 0;
    while done < output.len() {
        let (len, behind) = rest.split_first_chunk::<4>().ok_or("it is truncated")?;
        let len = u32::from_le_bytes(*len) as usize;
        let block = behind.get(..len).ok_or("it is truncated")?;
        rest = &behind[len..];
        let end = output.len().min(done + BLOCK);
        let got = lz4_flex::block::decompress_into(block, &mut output[done..end]).map_err(|_| "it is damaged")?;
        if done + got != end {
            return Err("it is too short");
        }
        done = end;
    }
    Ok(())
}
