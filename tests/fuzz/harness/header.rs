//! Header pages.

use strongroom::object::{FormatError, Header};

use super::object::{SHAPES, fix_header_mac, fix_key_section, header_page, keys_of, page};

/// Reads `data` as the start of an object: as it is, and as if its owner had made it.
pub fn run(data: &[u8]) -> bool {
    let _ = Header::decode(data);
    let _ = Header::decode_remains(data);
    let mut page = page(data);
    fix_key_section(&mut page);
    let Ok(remains) = Header::decode_remains(&page) else { return false };
    let keys = keys_of(&remains.identity);
    fix_header_mac(&remains.identity, &mut page);
    let Ok(header) = Header::decode(&page) else { return false };
    match keys.check_header(&page, &header) {
        Ok(()) => {}
        Err(FormatError::HeaderMac) => panic!("the MAC is not that of the format"),
        Err(_) => return false,
    }
    let (geometry, size) = (header.identity.geometry, header.state.size);
    assert_eq!(geometry.plain_len(geometry.stored_len(size)), Some(size));
    assert!(header.check_length(geometry.stored_len(size)).is_ok());
    let end = geometry.segments(size);
    assert!(header.state.null_extents.runs().iter().all(|run| 1 <= run.start && run.end <= end));
    if let Ok(sealed) = keys.seal_header(&header) {
        assert_eq!(Header::decode(sealed.as_slice()).unwrap(), header);
    }
    true
}

/// Headers of every shape.
pub fn seeds() -> Vec<Vec<u8>> {
    SHAPES.map(header_page).to_vec()
}
