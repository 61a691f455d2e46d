//! Key sections, in the header of an object that is sound otherwise.

use strongroom::object::Header;

use super::object::{ENTRIES, KEYS, Shape, fix_key_section, header_page, page};

/// Reads `data` as a key section.
pub fn run(data: &[u8]) -> bool {
    let mut page = page(&header_page(Shape::Narrow));
    let len = data.len().min(ENTRIES - KEYS);
    page[KEYS..ENTRIES].fill(0);
    page[KEYS..KEYS + len].copy_from_slice(&data[..len]);
    let _ = Header::decode(&page);
    fix_key_section(&mut page);
    let Ok(header) = Header::decode(&page) else { return false };
    for record in &header.keys.records {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let again = strongroom::envelope::WrappedKey::decode(&mut bytes.as_slice()).unwrap();
        assert_eq!(again, *record);
    }
    true
}

/// The section of a real header.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![header_page(Shape::Narrow)[KEYS..ENTRIES].to_vec()]
}
