//! The known-answer vectors of `docs/format.md` section 11, and tampering of whole objects.
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use sha3::{
    Shake128,
    digest::{ExtendableOutput, Update, XofReader},
};

use super::*;
use crate::{
    crypto::{self, Secret},
    envelope::{DataKey, DataKeys, Id},
};

/// SHAKE-128 of a label: stands in for the random generator.
fn stream(prefix: &str, label: &str) -> impl XofReader {
    let mut hasher = Shake128::default();
    hasher.update(prefix.as_bytes());
    hasher.update(label.as_bytes());
    hasher.finalize_xof()
}

fn take<const N: usize>(stream: &mut impl XofReader) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read(&mut bytes);
    bytes
}

fn plaintext(label: &str, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    stream("EOB1 PT", label).read(&mut bytes);
    bytes
}

fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first + u8::try_from(i).unwrap())
}

fn data_key() -> DataKey {
    Secret::copy_from(&counting::<32>(0))
}

/// The data keys of an object of `layers` layers.
fn data_keys(layers: usize) -> DataKeys {
    let second = (layers == 2).then(|| Secret::copy_from(&counting::<32>(0x20)));
    DataKeys { first: data_key(), second }
}

fn identity(log2: u8, layers: usize) -> Identity {
    let geometry = Geometry::new(BlockSize::from_log2(log2).unwrap(), layers == 2);
    let mode = if layers == 2 { SseMode::DualKms } else { SseMode::S3 };
    Identity {
        sealed: true,
        bucket_key: false,
        object: Id::from_bytes(counting(0xa0)),
        salt: counting(0xc0),
        ..Identity::fresh(geometry, mode, Id::from_bytes(counting(0xb0)), 0).unwrap()
    }
}

/// The published object called `label`, of commit `generation`.
fn encode(object: &Published, generation: u64) -> Vec<u8> {
    encode_as(object.0, object.1, (object.2, object.3), generation)
}

/// Encodes a whole object, block by block, with nonces and salts from the label's stream.
fn encode_as(label: &str, size: usize, (log2, layers): (u8, usize), generation: u64) -> Vec<u8> {
    let mut random = stream("EOB1 KAT", label);
    let mut identity = identity(log2, layers);
    let keys = ObjectKeys::create(&data_keys(layers), &mut identity);
    let geometry = identity.geometry;
    let mut out = vec![0; geometry.stored_len(size as u64) as usize];
    let mut segments: Vec<(Segment, SegmentCipher)> = Vec::new();
    for (i, chunk) in plaintext(label, size).chunks(geometry.block_size() as usize).enumerate() {
        let (g, slot) = geometry.segment_of(i as u64);
        if segments.len() as u64 == g {
            let mut segment = Segment::blank(&geometry, g);
            segment.salt = take(&mut random);
            segment.generation = generation;
            let cipher = keys.segment_cipher(g, &segment.salt);
            segments.push((segment, cipher));
        }
        let (segment, cipher) = segments.last_mut().unwrap();
        let at = geometry.block_offset(i as u64) as usize;
        let target = &mut out[at..at + chunk.len()];
        let mut nonces = Nonces::chosen((0..layers).map(|_| take(&mut random)).collect());
        segment.set_stamp(slot, cipher.seal(i as u64, &mut nonces, chunk, target).unwrap());
        segment.writes += 1;
    }
    let mut state = ObjectState { generation, size: size as u64, birth: false, ..ObjectState::new() };
    for (segment, _) in segments.iter().skip(1) {
        let page = keys.seal_segment(segment);
        state.accumulator.add(&keys.accumulator_term(segment.index(), &page));
        let at = geometry.tag_page_offset(segment.index()) as usize;
        out[at..at + 4096].copy_from_slice(page.as_slice());
    }
    let segment0 = segments.into_iter().next().map_or(Segment::blank(&geometry, 0), |(s, _)| s);
    let header = Header { identity, state, keys: KeySection::default(), segment0 };
    out[..4096].copy_from_slice(keys.seal_header(&header).unwrap().as_slice());
    out
}

/// Reads a whole object, checking everything there is to check.
fn decode(bytes: &[u8], key: &DataKeys) -> Result<Vec<u8>, FormatError> {
    let header = Header::decode(bytes)?;
    let keys = ObjectKeys::open(key, &header.identity)?;
    keys.check_header(bytes.first_chunk().unwrap(), &header)?;
    header.check_length(bytes.len() as u64)?;
    let geometry = header.identity.geometry;
    let mut sum = Accumulator::default();
    let mut segments = vec![header.segment0.clone()];
    for g in 1..geometry.segments(header.state.size) {
        let at = geometry.tag_page_offset(g) as usize;
        let page = bytes[at..].first_chunk().unwrap();
        segments.push(keys.open_segment(&header.identity, g, page)?);
        sum.add(&keys.accumulator_term(g, page));
    }
    if sum != header.state.accumulator {
        return Err(FormatError::Accumulator);
    }
    let mut out = vec![0; header.state.size as usize];
    for (i, chunk) in out.chunks_mut(geometry.block_size() as usize).enumerate() {
        let (g, slot) = geometry.segment_of(i as u64);
        let segment = &segments[g as usize];
        if segment.stamp(slot).is_hole() {
            continue;
        }
        let at = geometry.block_offset(i as u64) as usize;
        let cipher = keys.segment_cipher(g, &segment.salt);
        cipher.open(i as u64, &segment.stamp(slot), &bytes[at..at + chunk.len()], chunk)?;
    }
    Ok(out)
}

/// Label, size, block size (log2), layers, stored length and SHA-256.
type Published = (&'static str, usize, u8, usize, usize, &'static str);

const OBJECTS: [Published; 9] = [
    ("a", 0, 12, 1, 4096, "7a70ca5e0b6f7a94f8272c8708f6b63c349db9e9b4a07dda53a9564397c14219"),
    ("b", 100, 12, 1, 4196, "1ed77cfb88e9909a0f9b3c8a181d401b7781715b0ad116f1ab958b3cce042f15"),
    ("c", 300_000, 12, 1, 308_192, "fb18c8718a4c290870013ec7b3a1a44827d06e8dad80e4bd60d32676189de87c"),
    ("d", 300_000, 16, 1, 304_096, "6a0e3e4aa717b88c69fb19faa779cf9b2feba06d9287035f1b4804e0558df7aa"),
    ("e", 8_388_613, 16, 1, 8_396_805, "9cafde0594828ff94a15bc3f14ea9cf1b4ea690104b0f7f5d361faeb8b33e892"),
    ("f", 0, 12, 2, 4_096, "d83b9b83ea0723fee4c8a4ea9f19630095b7d0110c478afbcf695af037b193bc"),
    ("g", 100, 12, 2, 4_196, "940beb3018ba0cffe29d0595e20696297a8d17a8e039d04cdbbd44bfac5071da"),
    ("h", 300_000, 12, 2, 308_192, "f44a29a49a44a9fe2f8bb66b5d7088c719aab6c1b7e068e4698b282998d537d1"),
    ("i", 2_000_000, 16, 2, 2_008_192, "d83abeac49b80612a126dac865f482db9ed8b492fe656819d8a1d249a2a25f04"),
];

#[test]
fn the_key_schedule_gives_the_published_keys() {
    let mut identity = identity(12, 1);
    let prk = crypto::hmac_sha256(&identity.salt, &[data_key().expose()]);
    assert_eq!(hex::encode(prk), "0c117d78a34dcb07e31ed81220db6155bcd52dfe219961dc029bd5a1c00d6fdd");
    let keys = ObjectKeys::create(&data_keys(1), &mut identity);
    let commitment = "d7d1531be63fb6b717bec5616a8bdd8e82186ece4e2bdeb14eee96d75d3e38fa";
    assert_eq!(hex::encode(identity.commitment), commitment);
    let context = identity.key_context(1);
    let derived = |label: &[u8]| hex::encode(crypto::hkdf_expand(&prk, &[b"EOB1/", label, &context]));
    assert_eq!(derived(b"header"), "ee816baa9cdd9e622dd857449b3f82d0dd7fb35df25ec64cb2801ec160214fbc");
    assert_eq!(derived(b"tagpage"), "133f491c72418857075fc69ae16419dc540d1d0fa2c54c1a6d315cc0b6744357");
    assert_eq!(derived(b"acc"), "6a42b69cf08cb453cde0df22da4ff925fda18d4d7a76ddfe4c2e3384f27bed3c");
    let (plain, mut block): (Vec<u8>, _) = ((0..100).collect(), vec![0; 100]);
    let stamp = keys
        .segment_cipher(0, &[0x11; 16])
        .seal(0, &mut Nonces::chosen(vec![[0x22; 12]]), &plain, &mut block)
        .unwrap();
    block.extend(stamp.tag);
    let expected = "5e420c5fd38642a44e4c42a03882580df558e96d83c391bba2d1fdda44ddc35a\
        cebb79634cdd7d75da63805aaf059f14e381587d2b6f3aebbb90eaff85c4dc00ead20ee1d0da391aacbdc1e1643f3837\
        2b1585ae433f0cba8e83dfaf29c56b5a4b77bea13fa7cc99c607ac43dbb9735f10b14ec1";
    assert_eq!(hex::encode(block), expected);
}

#[test]
fn the_key_schedule_of_two_layers_gives_the_published_keys() {
    let mut identity = identity(12, 2);
    let keys = ObjectKeys::create(&data_keys(2), &mut identity);
    assert_eq!(
        hex::encode(identity.commitment),
        "ea944e2844b13aeedb5909d73dd13eeb9c69e2688cb7fac19d28cf4b6c9cdb5d"
    );
    assert_eq!(
        hex::encode(identity.outer_commitment),
        "bf82d129c1afe06a488272dd534443096b9065851013462019582fb4e20faf95"
    );
    let (plain, mut block): (Vec<u8>, _) = ((0..100).collect(), vec![0; 100]);
    let mut nonces = Nonces::chosen(vec![[0x22; 12], [0x33; 12]]);
    let stamp = keys.segment_cipher(0, &[0x11; 16]).seal(0, &mut nonces, &plain, &mut block).unwrap();
    block.extend(stamp.tag);
    block.extend(stamp.outer.unwrap().tag);
    let expected = "287c80cbf206e16697ab0b34ad4c8c8f427ab2b23570f944b38e8a630fce8182b31afa25995a65c84c196a9b\
        60ff28984f10d3f0d7d200640eb202c40365c2d5ca0da08807f6901577d006120e090df1794f9fb99c4fc753\
        f8256bcf4b31082f57521830cca23db7ab9c851296298c66a66843db38e59c40e6dc5f8c4a5559a44f500481";
    assert_eq!(hex::encode(block), expected);
}

#[test]
fn whole_objects_have_the_published_digests_and_read_back() {
    for published in &OBJECTS {
        let (label, size, _, layers, stored, digest) = *published;
        let object = encode(published, 1);
        assert_eq!(object.len(), stored, "{label}");
        assert_eq!(hex::encode(crypto::sha256(&object)), digest, "{label}");
        assert_eq!(decode(&object, &data_keys(layers)).unwrap(), plaintext(label, size), "{label}");
    }
}

#[test]
fn either_wrong_data_key_of_two_layers_is_refused() {
    let object = encode(&OBJECTS[6], 1);
    let refused = Err(FormatError::Commitment);
    let (first, second) = (data_key, || Some(Secret::copy_from(&counting::<32>(0x20))));
    assert_eq!(decode(&object, &DataKeys { first: first(), second: Some(Secret::zero()) }), refused);
    assert_eq!(decode(&object, &DataKeys { first: Secret::zero(), second: second() }), refused);
    assert_eq!(decode(&object, &DataKeys { first: second().unwrap(), second: Some(first()) }), refused);
    assert_eq!(decode(&object, &DataKeys { first: first(), second: None }), refused);
    assert_eq!(decode(&encode(&OBJECTS[1], 1), &data_keys(2)), refused);
}

#[test]
fn every_class_of_tampering_is_found() {
    for published in OBJECTS[1..4].iter().chain(&OBJECTS[6..8]) {
        let (label, size, log2, layers, ..) = published;
        let object = encode(published, 1);
        let data_keys = data_keys(*layers);
        let refused = |bytes: &[u8], what: &str| {
            assert!(decode(bytes, &data_keys).is_err(), "object {label}: {what} was accepted");
        };
        let wrong =
            DataKeys { first: Secret::zero(), second: data_keys.second.as_ref().map(|_| Secret::zero()) };
        assert_eq!(decode(&object, &wrong), Err(FormatError::Commitment));
        refused(&object[..object.len() - 1], "a cut byte");
        refused(&[object.as_slice(), &[0]].concat(), "an added byte");
        for at in (0..1024).chain(2560..4096).chain([object.len() - 1, 4096, 4100]) {
            let mut altered = object.clone();
            altered[at] ^= 1;
            refused(&altered, &format!("a flipped bit at {at}"));
        }
        let geometry = identity(*log2, *layers).geometry;
        let (bs, blocks) = (geometry.block_size() as usize, geometry.blocks(*size as u64));
        if blocks >= 3 {
            let (a, b) = (geometry.block_offset(0) as usize, geometry.block_offset(1) as usize);
            let mut swapped = object.clone();
            swapped[a..a + bs].copy_from_slice(&object[b..b + bs]);
            swapped[b..b + bs].copy_from_slice(&object[a..a + bs]);
            refused(&swapped, "two swapped blocks");
            let mut zeroed = object.clone();
            zeroed[a..a + bs].fill(0);
            refused(&zeroed, "a zeroed block");
            refused(&object[..geometry.stored_len((blocks - 1) * bs as u64) as usize], "a cut block");
        }
        if geometry.segments(*size as u64) > 1 {
            let at = geometry.tag_page_offset(1) as usize;
            let mut zeroed = object.clone();
            zeroed[at..at + 4096].fill(0);
            refused(&zeroed, "a zeroed tag page");
            let mut stale = encode(published, 2);
            let end = stale.len().min(at + 4096 + geometry.slots(1) as usize * bs);
            stale[at..end].copy_from_slice(&object[at..end]);
            assert_eq!(decode(&stale, &data_keys), Err(FormatError::Accumulator));
        }
    }
}

#[test]
fn arbitrary_header_bytes_never_panic() {
    let object = encode(&OBJECTS[1], 1);
    let mut random = stream("fuzz", "header");
    for _ in 0..20_000 {
        let mut altered = object[..4096].to_vec();
        for _ in 0..4 {
            let [hi, lo, value] = take::<3>(&mut random);
            altered[usize::from(u16::from_be_bytes([hi, lo])) % 4096] = value;
        }
        if let Ok(header) = Header::decode(&altered) {
            let _ = ObjectKeys::open(&data_keys(1), &header.identity);
        }
    }
}
