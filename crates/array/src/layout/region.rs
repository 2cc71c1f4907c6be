//! Copying a box of items between two arrays.

/// The same box in two byte arrays: its start in each, and its extent.
pub(super) struct Region<'a> {
    pub extent: &'a [usize],
    pub from_shape: &'a [usize],
    pub from: &'a [usize],
    pub to_shape: &'a [usize],
    pub to: &'a [usize],
}

impl Region<'_> {
    /// Calls `copy` for each contiguous run, with the first item in both arrays and the number of
    /// items.
    pub fn runs(&self, mut copy: impl FnMut(usize, usize, usize)) {
        let dimensions = self.extent.len();
        if self.extent.contains(&0) {
            return;
        }
        // Dimensions that the box fills in both arrays are merged into one run with the next outer
        // one.
        let mut run = 1;
        let mut outer = dimensions;
        while let Some(inner) = outer.checked_sub(1) {
            let at = |sizes: &[usize]| sizes.get(inner).copied().unwrap_or(1);
            run *= at(self.extent);
            outer = inner;
            if at(self.extent) != at(self.from_shape) || at(self.extent) != at(self.to_shape) {
                break;
            }
        }
        let mut index = vec![0; outer];
        loop {
            copy(
                offset(self.from_shape, self.from, &index),
                offset(self.to_shape, self.to, &index),
                run,
            );
            let mut carry = true;
            for (i, extent) in index.iter_mut().zip(self.extent).rev() {
                *i += 1;
                if *i < *extent {
                    carry = false;
                    break;
                }
                *i = 0;
            }
            if carry {
                return;
            }
        }
    }

    /// Copies the items of the box, each of `size` bytes.
    pub fn copy(&self, from: &[u8], to: &mut [u8], size: usize) {
        self.runs(|source, target, items| {
            let source = from.get(source * size..(source + items) * size);
            let target = to.get_mut(target * size..(target + items) * size);
            if let (Some(source), Some(target)) = (source, target) {
                target.copy_from_slice(source);
            }
        });
    }
}

/// The number of the item at `start + index`; dimensions that `index` lacks count as zero.
fn offset(shape: &[usize], start: &[usize], index: &[usize]) -> usize {
    let index = index.iter().copied().chain(std::iter::repeat(0));
    let at = shape.iter().zip(start).zip(index);
    at.fold(0, |offset, ((extent, start), i)| offset * extent + start + i)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Extent, shapes and starts of a box in up to three dimensions.
    fn boxes() -> impl Strategy<Value = Vec<(usize, usize, usize, usize, usize)>> {
        prop::collection::vec((0..4usize, 0..3usize, 0..3usize, 0..3usize, 0..3usize), 0..4)
    }

    proptest! {
        #[test]
        fn every_item_of_the_box_is_copied_and_no_other(boxes in boxes()) {
            let extent: Vec<usize> = boxes.iter().map(|b| b.0).collect();
            let (from, to): (Vec<usize>, Vec<usize>) = boxes.iter().map(|b| (b.1, b.2)).unzip();
            let from_shape: Vec<usize> = boxes.iter().map(|b| b.0 + b.1 + b.3).collect();
            let to_shape: Vec<usize> = boxes.iter().map(|b| b.0 + b.2 + b.4).collect();
            let source: Vec<u8> = (1..=from_shape.iter().product::<usize>()).map(|v| v as u8).collect();
            let mut target = vec![0u8; to_shape.iter().product()];
            let mut expected = target.clone();
            let mut index = vec![0; boxes.len()];
            let mut more = !extent.contains(&0);
            while more {
                expected[offset(&to_shape, &to, &index)] = source[offset(&from_shape, &from, &index)];
                more = false;
                for (i, extent) in index.iter_mut().zip(&extent) {
                    *i += 1;
                    if *i < *extent {
                        more = true;
                        break;
                    }
                    *i = 0;
                }
            }
            let (extent, from_shape, to_shape) = (&extent, &from_shape, &to_shape);
            let region = Region { extent, from_shape, from: &from, to_shape, to: &to };
            region.copy(&source, &mut target, 1);
            prop_assert_eq!(target, expected);
        }
    }
}
