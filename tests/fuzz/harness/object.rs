//! An object to mutate, and its MACs computed by the letter of the format (section 10.5), not by the product.

use strongroom::{
    crypto::{Secret, crc32c, hkdf_expand, hmac_sha256},
    envelope::{DataKeys, EncryptionContext, Id, Provider, RecordType, WrapAlg, WrappedKey},
    object::{
        BlockSize, Geometry, Header, Identity, KeySection, NullExtents, ObjectKeys, ObjectState, OuterStamp,
        Segment, SseMode, Stamp,
    },
};

pub(super) const PAGE: usize = 4096;
pub(super) const KEYS: usize = 1024;
pub(super) const ENTRIES: usize = 2560;
const HEADER_MAC: usize = 992;
const PAGE_MAC: usize = 480;
const DATA_KEY: [u8; 32] = [42; 32];
const OUTER_KEY: [u8; 32] = [43; 32];

/// What an object is like.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Narrow,
    /// One layer, room for two.
    Wide,
    Dual,
}

pub(super) const SHAPES: [Shape; 3] = [Shape::Narrow, Shape::Wide, Shape::Dual];

/// Identity and keys of the object.
pub(super) fn object(shape: Shape) -> (Identity, ObjectKeys) {
    let mut identity = Identity {
        geometry: Geometry::new(BlockSize::DEFAULT, shape != Shape::Narrow),
        mode: if shape == Shape::Dual { SseMode::DualKms } else { SseMode::S3 },
        sealed: false,
        accumulated: true,
        bucket_key: true,
        object: Id::from_bytes([1; 16]),
        bucket: Id::from_bytes([2; 16]),
        salt: [3; 32],
        commitment: [0; 32],
        outer_commitment: [0; 32],
        created: 4,
    };
    let keys = ObjectKeys::create(&data_keys(&identity), &mut identity);
    (identity, keys)
}

/// The keys that an object with this identity would have.
pub(super) fn keys_of(identity: &Identity) -> ObjectKeys {
    ObjectKeys::create(&data_keys(identity), &mut identity.clone())
}

fn data_keys(identity: &Identity) -> DataKeys {
    let second = identity.is_dual().then(|| Secret::copy_from(&OUTER_KEY));
    DataKeys { first: Secret::copy_from(&DATA_KEY), second }
}

/// The stamp of a block of such an object.
pub(super) fn stamp(nonce: u8, tag: u8, shape: Shape) -> Stamp {
    let outer = OuterStamp { nonce: [nonce + 1; 12], tag: [tag + 1; 16] };
    Stamp { nonce: [nonce; 12], tag: [tag; 16], outer: (shape == Shape::Dual).then_some(outer) }
}

/// The header page of the object.
pub(super) fn header_page(shape: Shape) -> Vec<u8> {
    let (identity, keys) = object(shape);
    let mut null_extents = NullExtents::default();
    null_extents.insert(2..5);
    null_extents.insert(7..8);
    let size = 9 << 20;
    let state = ObjectState { generation: 3, size, null_extents, birth: false, ..ObjectState::new() };
    let mut segment0 = Segment::blank(&identity.geometry, 0);
    segment0.salt = [5; 16];
    segment0.set_stamp(1, stamp(6, 7, shape));
    let record = |kind, provider| WrappedKey {
        kind,
        provider,
        alg: WrapAlg::HkdfAesGcm,
        key_version: 1,
        key_id: vec![8; 16],
        context: EncryptionContext::default(),
        salt_nonce: vec![9; 28],
        wrapped: vec![10; 48],
    };
    let records = vec![
        record(RecordType::DataKey1, Provider::BucketKey),
        record(RecordType::EmbeddedBucketKey, Provider::Keyring),
    ];
    let header = Header { identity, state, keys: KeySection { rewraps: 0, records }, segment0 };
    keys.seal_header(&header).unwrap().to_vec()
}

/// Puts the checksum of the key section right, as far as its length makes sense.
pub(super) fn fix_key_section(page: &mut [u8; PAGE]) {
    let section = &mut page[KEYS..ENTRIES];
    let used = u32::from_be_bytes(section[8..12].try_into().unwrap());
    let used = usize::try_from(used).unwrap().clamp(20, section.len());
    section[8..12].copy_from_slice(&u32::try_from(used).unwrap().to_be_bytes());
    let crc = crc32c(&section[..used - 4]);
    section[used - 4..used].copy_from_slice(&crc.to_be_bytes());
}

/// Puts the MAC of a header page right.
pub(super) fn fix_header_mac(identity: &Identity, page: &mut [u8; PAGE]) {
    let key = derived_key(identity, "header");
    let mac = hmac_sha256(&key, &[b"EOB1/hdr", &page[..HEADER_MAC], &page[ENTRIES..]]);
    page[HEADER_MAC..HEADER_MAC + 32].copy_from_slice(&mac);
}

/// Puts the MAC of a tag page right.
pub(super) fn fix_tag_page_mac(identity: &Identity, page: &mut [u8; PAGE]) {
    let mac = hmac_sha256(&derived_key(identity, "tagpage"), &[&page[..PAGE_MAC], &page[PAGE_MAC + 32..]]);
    page[PAGE_MAC..PAGE_MAC + 32].copy_from_slice(&mac);
}

fn derived_key(identity: &Identity, label: &str) -> [u8; 32] {
    let mut prk = hmac_sha256(&identity.salt, &[&DATA_KEY]);
    let block = identity.geometry.block().log2();
    let mut head = [1, 1, 0, block, 1];
    if identity.is_dual() {
        prk = hmac_sha256(&prk, &[&hmac_sha256(&identity.salt, &[&OUTER_KEY])]);
        head = [1, 1, 1, block, 0x80];
    }
    let ids = [identity.object.as_bytes().as_slice(), identity.bucket.as_bytes()];
    hkdf_expand(&prk, &[b"EOB1/", label.as_bytes(), &head, ids[0], ids[1]])
}

/// The first page of an input, filled up with zeros.
pub(super) fn page(data: &[u8]) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    let len = data.len().min(PAGE);
    page[..len].copy_from_slice(&data[..len]);
    page
}
