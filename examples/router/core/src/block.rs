//! Tokens cut into blocks, each with a hash of its own tokens and one of everything up to its end.

/// Tokens in a block.
pub const BLOCK_SIZE: usize = 16;

/// One full block of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Hash of this block's tokens alone.
    pub local: u64,
    /// Hash of the sequence up to the end of this block; equal sequences have equal hashes in every process.
    pub sequence: u64,
}

/// The full blocks of a sequence; tokens after the last full block are in none.
pub fn blocks(tokens: &[u32]) -> Vec<Block> {
    let mut sequence = FNV_OFFSET;
    tokens
        .chunks_exact(BLOCK_SIZE)
        .map(|chunk| {
            let local = chunk
                .iter()
                .fold(FNV_OFFSET, |hash, token| fnv(hash, u64::from(*token)));
            sequence = fnv(sequence, local);
            Block { local, sequence }
        })
        .collect()
}

/// FNV-1a, 64 bit (Fowler, Noll, Vo): the same in every process, unlike the standard library's default hasher.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(hash: u64, value: u64) -> u64 {
    value
        .to_le_bytes()
        .iter()
        .fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_prefixes_have_equal_hashes_and_a_difference_changes_all_that_follow() {
        let tokens: Vec<u32> = (0..64).collect();
        let mut other = tokens.clone();
        other[20] = 999;
        let (a, b) = (blocks(&tokens), blocks(&other));
        assert_eq!(a.len(), 4);
        assert_eq!(a[0], b[0]);
        assert_ne!(a[1].local, b[1].local);
        assert_eq!(a[2].local, b[2].local);
        assert_ne!(a[2].sequence, b[2].sequence);
    }

    #[test]
    fn a_partial_block_is_none() {
        assert!(blocks(&[1; BLOCK_SIZE - 1]).is_empty());
        assert_eq!(blocks(&[1; BLOCK_SIZE + 1]).len(), 1);
    }
}
