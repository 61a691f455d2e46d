//! Tag pages.

use strongroom::object::{FormatError, Segment};

use super::object::{PAGE, SHAPES, Shape, fix_tag_page_mac, object, page, stamp};

/// Reads `data` as the tag page of the segment that it names.
pub fn run(data: &[u8]) -> bool {
    let index = u64::from_be_bytes(page(data)[8..16].try_into().unwrap());
    SHAPES.into_iter().any(|shape| opens(&mut page(data), index.max(1), shape))
}

fn opens(page: &mut [u8; PAGE], index: u64, shape: Shape) -> bool {
    let (identity, keys) = object(shape);
    let _ = keys.open_segment(&identity, index, page);
    fix_tag_page_mac(&identity, page);
    match keys.open_segment(&identity, index, page) {
        // What is accepted has one form only.
        Ok(segment) => assert_eq!(keys.seal_segment(&segment).as_slice(), page.as_slice()),
        Err(FormatError::TagPage(at)) => {
            assert_eq!(at, index);
            return false;
        }
        Err(other) => panic!("{other}"),
    }
    true
}

/// Pages of every shape.
pub fn seeds() -> Vec<Vec<u8>> {
    let sealed = |shape| {
        let (identity, keys) = object(shape);
        let mut segment = Segment::blank(&identity.geometry, 1);
        segment.salt = [1; 16];
        (segment.generation, segment.writes) = (2, 3);
        segment.set_stamp(0, stamp(4, 5, shape));
        segment.set_stamp(63, stamp(6, 7, shape));
        keys.seal_segment(&segment).to_vec()
    };
    SHAPES.map(sealed).to_vec()
}
