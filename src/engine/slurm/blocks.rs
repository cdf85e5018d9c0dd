//! Arrays of a size that the cluster takes. Slurm limits the index of an array's task, not the number of tasks.

/// Blocks of iterations, each with the offset from index to iteration. Indexes run from 1 to `largest`.
pub(super) fn blocks(iterations: &[u32], largest: u32) -> Vec<(u32, Vec<u32>)> {
    let largest = largest.max(1);
    let mut blocks: Vec<(u32, Vec<u32>)> = Vec::new();
    for iteration in iterations {
        let offset = (iteration - 1) / largest * largest;
        match blocks.last_mut() {
            Some((last, block)) if *last == offset => block.push(*iteration),
            _ => blocks.push((offset, vec![*iteration])),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_index_is_above_the_largest_and_none_is_zero() {
        let all: Vec<u32> = (1..=1500).collect();
        let blocks = blocks(&all, 1000);
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].0, blocks[0].1.len()), (0, 1000));
        assert_eq!(
            (blocks[1].0, blocks[1].1.first(), blocks[1].1.len()),
            (1000, Some(&1001), 500)
        );
        for (offset, block) in blocks {
            assert!(block.iter().all(|iteration| (1..=1000).contains(&(iteration - offset))));
        }
    }

    #[test]
    fn a_sparse_list_stays_sparse() {
        assert_eq!(blocks(&[9, 11, 31], 10), [(0, vec![9]), (10, vec![11]), (30, vec![31])]);
    }
}
