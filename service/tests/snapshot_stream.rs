//! The stream of a snapshot: what is written comes back, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_service::snapshot::{
    SectionName, SectionSummary, SnapshotError, SnapshotReader, SnapshotSource, SnapshotSummary,
    SnapshotWriter, verify,
};
use proptest::collection::vec;
use proptest::prelude::*;

type Sections = [(String, Vec<u8>)];

/// A stream with the section `s/1` of the bytes 1, 2, 3.
const GOLDEN: &str = "
    4c53534e4150534801000000b7687644
    010000000300000018d17263732f3102
    00000003000000b70b8fa80102030300
    0000180000002b0aa6e5030000000000
    00003b73ae32769bceebd4b8c4cb88eb
    77ac0400000048000000b81637700300
    0000000000003b73ae32769bceebd4b8
    c4cb88eb77ac732f3100000000000000
    00000000000000000000000000000000
    00000000000000000000000000000000
    00000000000005000000200000000d01
    67510100000000000000a60000000000
    0000043c3e6c5c4506d95bd73dee195a
    e249
";

/// What every XXH3 of 128 bits says of no bytes at all.
const HASH_OF_NOTHING: u128 = 0x99AA_06D3_0147_98D8_6001_C324_468D_497F;

/// The stream of these sections, each written in pieces of `piece` bytes and taken after each.
fn written(sections: &Sections, piece: usize) -> (Vec<u8>, SnapshotSummary) {
    let mut writer = SnapshotWriter::new();
    let mut stream = Vec::new();
    for (name, content) in sections {
        writer.begin_section(name).unwrap();
        for bytes in content.chunks(piece) {
            writer.write(bytes).unwrap();
            let taken = writer.pending().len() / 2;
            stream.extend_from_slice(&writer.pending()[..taken]);
            writer.consume(taken);
        }
        writer.end_section().unwrap();
    }
    let summary = writer.finish().unwrap();
    stream.extend_from_slice(writer.pending());
    assert_eq!(stream.len() as u64, writer.length());
    (stream, summary)
}

fn verified(mut stream: &[u8]) -> Result<SnapshotSummary, SnapshotError> {
    verify(&mut stream)
}

/// All sections of a stream, read in pieces of `piece` bytes.
fn read(mut stream: &[u8], piece: usize) -> Result<Vec<(String, Vec<u8>)>, SnapshotError> {
    let mut reader = SnapshotReader::open(&mut stream)?;
    let mut sections = Vec::new();
    while let Some(name) = reader.next_section()? {
        let mut content = Vec::new();
        while reader.has_more()? {
            let mut bytes = vec![0; piece];
            match reader.read_exact(&mut bytes) {
                Ok(()) => content.extend_from_slice(&bytes),
                // Fewer are left: one by one.
                Err(SnapshotError::SectionTooShort { .. }) => return Ok(sections),
                Err(error) => return Err(error),
            }
        }
        reader.end_section()?;
        sections.push((name.to_string(), content));
    }
    reader.finish()?;
    Ok(sections)
}

fn small() -> Vec<(String, Vec<u8>)> {
    vec![
        ("header".to_owned(), b"lockstep".to_vec()),
        ("empty".to_owned(), Vec::new()),
        ("service/x".to_owned(), vec![0xA5; 40]),
    ]
}

/// Two chunks and a part, and two chunks exactly.
fn large() -> Vec<(String, Vec<u8>)> {
    let content = |length: usize| (0..length).map(|at| (at * 7 / 3) as u8).collect();
    vec![
        ("a".to_owned(), content(65_537)),
        ("b".to_owned(), content(65_536)),
    ]
}

#[test]
fn what_is_written_comes_back_and_the_pieces_do_not_matter() {
    for sections in [small(), large(), Vec::new()] {
        let (stream, summary) = written(&sections, usize::MAX);
        assert_eq!(summary.length, stream.len() as u64);
        for piece in [1, 7, 32_768, 40_000] {
            assert_eq!(written(&sections, piece), (stream.clone(), summary.clone()));
        }
        assert_eq!(read(&stream, 1).unwrap(), sections);
        assert_eq!(verified(&stream), Ok(summary.clone()));
        let names = summary
            .sections
            .iter()
            .map(|section| section.name.to_string());
        assert!(names.eq(sections.iter().map(|section| section.0.clone())));
        let lengths = summary.sections.iter().map(|section| section.length);
        assert!(lengths.eq(sections.iter().map(|section| section.1.len() as u64)));
    }
}

#[test]
fn a_writer_that_begins_again_writes_what_a_new_one_does() {
    let mut writer = SnapshotWriter::new();
    writer.begin_section("half").unwrap();
    writer.write(&[1; 40_000]).unwrap();
    let taken = writer.pending().len();
    writer.consume(taken - 3);
    writer.restart();
    writer.begin_section("half").unwrap();
    writer.end_section().unwrap();
    let summary = writer.finish().unwrap();
    let expected = written(&[("half".to_owned(), Vec::new())], 1);
    assert_eq!((writer.pending(), summary), (&expected.0[..], expected.1));
}

#[test]
fn the_bytes_of_a_stream_never_change_while_its_format_is_the_same() {
    let section = ("s/1".to_owned(), vec![1, 2, 3]);
    let (stream, summary) = written(std::slice::from_ref(&section), 1);
    let text: Vec<String> = stream
        .chunks(16)
        .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let expected = GOLDEN.split_whitespace().collect::<Vec<_>>();
    assert_eq!(text, expected, "\n{}", text.join("\n"));
    assert_eq!(summary.length, stream.len() as u64);
    let nothing = ("s/2".to_owned(), Vec::new());
    let (_, summary) = written(&[section, nothing], 1);
    let [_, empty] = summary.sections[..] else {
        panic!("{summary:?}");
    };
    let name = SectionName::new("s/2").unwrap();
    let (length, hash) = (0, HASH_OF_NOTHING);
    assert_eq!(empty, SectionSummary { name, length, hash });
}

#[test]
fn each_bit_that_flips_is_found_and_its_place_named() {
    let (stream, summary) = written(&small(), 9);
    for bit in 0..stream.len() * 8 {
        let mut spoiled = stream.clone();
        spoiled[bit / 8] ^= 1 << (bit % 8);
        let error = verified(&spoiled).expect_err("a bit is wrong");
        match error {
            SnapshotError::NoSnapshot => assert!(bit / 8 < 16, "bit {bit}"),
            SnapshotError::Damaged { place, .. } | SnapshotError::CutShort { place } => {
                assert!(place.offset <= bit as u64 / 8, "bit {bit}: {error}");
            }
            _ => panic!("bit {bit}: {error}"),
        }
    }
    assert_eq!(verified(&stream), Ok(summary));
}

#[test]
fn a_stream_that_is_cut_short_at_any_length_or_goes_on_is_refused() {
    let (mut stream, _) = written(&small(), 9);
    for length in 0..stream.len() {
        let error = verified(&stream[..length]).expect_err("it is cut short");
        assert!(
            matches!(error, SnapshotError::CutShort { .. }),
            "{length}: {error}"
        );
    }
    stream.push(0);
    let error = verified(&stream).expect_err("it goes on");
    let said = "something follows its end";
    assert!(matches!(error, SnapshotError::Damaged { what, .. } if what == said));
}

#[test]
fn a_stream_of_a_newer_format_is_refused_by_name() {
    let (mut stream, _) = written(&small(), 9);
    stream[8] = 9;
    let crc = crc32c::crc32c(&stream[..12]).to_le_bytes();
    stream[12..16].copy_from_slice(&crc);
    let newer = SnapshotError::NewerFormat { found: 9, known: 1 };
    assert_eq!(verified(&stream), Err(newer));
}

/// A stream whose records are right one by one, but not together: the sections of two.
#[test]
fn records_of_one_stream_in_another_are_found() {
    let one = written(&small(), 9).0;
    let mut sections = small();
    sections[0].1[0] ^= 1;
    let other = written(&sections, 9).0;
    for cut in (16..one.len()).filter(|cut| one[..*cut] != other[..*cut]) {
        let mixed = [&one[..cut], &other[cut..]].concat();
        if one[cut..] != other[cut..] {
            verified(&mixed).expect_err("it is of two");
        }
    }
}

#[test]
fn each_misuse_of_a_writer_is_refused_and_changes_nothing() {
    let named = |name: &str| SectionName::new(name).unwrap();
    let mut writer = SnapshotWriter::new();
    let before = writer.length();
    assert_eq!(writer.write(&[1]), Err(SnapshotError::NoSection));
    assert_eq!(writer.u64(1), Err(SnapshotError::NoSection));
    assert_eq!(writer.write(&[]), Err(SnapshotError::NoSection));
    assert_eq!(writer.end_section(), Err(SnapshotError::NoSection));
    for text in ["", "Header", "a b", &"x".repeat(49)] {
        let error = writer.begin_section(text).unwrap_err();
        let text = text.to_owned();
        assert_eq!(error, SnapshotError::BadName { text, limit: 48 });
    }
    assert_eq!(writer.length(), before);
    writer.begin_section("a").unwrap();
    let open = SnapshotError::SectionOpen { name: named("a") };
    assert_eq!(writer.begin_section("b"), Err(open.clone()));
    assert_eq!(writer.finish(), Err(open));
    writer.end_section().unwrap();
    let twice = SnapshotError::SectionTwice { name: named("a") };
    assert_eq!(writer.begin_section("a"), Err(twice));
    for index in 1..256 {
        writer.begin_section(&format!("n{index}")).unwrap();
        writer.end_section().unwrap();
    }
    let many = SnapshotError::TooManySections { limit: 256 };
    assert_eq!(writer.begin_section("b"), Err(many));
    let summary = writer.finish().unwrap();
    assert_eq!(writer.finish(), Err(SnapshotError::Complete));
    assert_eq!(writer.begin_section("b"), Err(SnapshotError::Complete));
    assert_eq!(verified(writer.pending()), Ok(summary));
}

#[test]
fn who_reads_otherwise_than_was_written_is_told_where() {
    let (stream, _) = written(&small(), 9);
    let mut source = &stream[..];
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    assert_eq!(reader.has_more(), Err(SnapshotError::NoSection));
    let error = reader.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the section goes on at byte 34, in section header, and nobody reads it: it was written \
         by another version of what reads it"
    );
    let mut source = &stream[..];
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    let error = reader.expect_section("terms").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no section terms at byte 16, in section header")
    );
    let mut source = &stream[..];
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    reader.expect_section("header").unwrap();
    assert!(matches!(
        reader.next_section(),
        Err(SnapshotError::SectionOpen { .. })
    ));
    assert_eq!(reader.u32(), Ok(u32::from_le_bytes(*b"lock")));
    let error = reader.end_section().unwrap_err();
    assert!(matches!(error, SnapshotError::SectionNotRead { place } if place.offset == 50));
    let error = reader.u64().unwrap_err();
    assert!(
        matches!(error, SnapshotError::SectionTooShort { .. }),
        "{error}"
    );
    let mut source = &stream[..];
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    reader.expect_section("header").unwrap();
    assert!(reader.u32().is_ok() && reader.skip_section().is_ok());
    reader.expect_section("empty").unwrap();
    let refused = reader.refuse("it is none");
    assert!(
        refused
            .to_string()
            .ends_with("in section empty what cannot be: it is none")
    );
}

#[test]
fn a_length_beyond_its_limit_takes_no_memory() {
    let mut writer = SnapshotWriter::new();
    writer.begin_section("a").unwrap();
    writer.u64(u64::MAX).unwrap();
    writer.end_section().unwrap();
    writer.finish().unwrap();
    let mut source = writer.pending();
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    reader.expect_section("a").unwrap();
    let error = reader.bytes(9, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, SnapshotError::Refused { .. }), "{error}");
    let mut source = writer.pending();
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    reader.expect_section("a").unwrap();
    let mut bytes = Vec::new();
    let error = reader.bytes(usize::MAX, &mut bytes).unwrap_err();
    assert!(matches!(error, SnapshotError::SectionTooShort { .. }));
    assert!(bytes.capacity() < 1 << 20);
}

#[test]
fn all_that_was_written_counts_before_it_can_be_taken() {
    let mut writer = SnapshotWriter::new();
    writer.begin_section("a").unwrap();
    let (before, pending) = (writer.length(), writer.pending().len());
    writer.write(&[1]).unwrap();
    // With the header of its chunk.
    assert_eq!(
        (writer.length(), writer.pending().len()),
        (before + 13, pending)
    );
    writer.write(&vec![1; 1 << 20]).unwrap();
    writer.restart();
    assert_eq!(writer.length(), 16);
}

/// A disk on which something cannot be read from some byte on.
struct Failing<'a>(&'a [u8], u64);

impl SnapshotSource for Failing<'_> {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        if offset + buffer.len() as u64 > self.1 {
            return Err("the sector is bad".to_owned());
        }
        self.0.read(offset, buffer)
    }
}

#[test]
fn what_a_disk_says_is_handed_on() {
    let (stream, summary) = written(&small(), 9);
    for readable in 0..stream.len() as u64 {
        let error = verify(&mut Failing(&stream, readable)).unwrap_err();
        assert!(error.to_string().contains("the sector is bad"), "{error}");
    }
    assert_eq!(verify(&mut Failing(&stream, u64::MAX)), Ok(summary));
}

fn sections() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let section = ("[a-z0-9/_-]{1,48}", vec(any::<u8>(), 0..400));
    let lengths = vec(0..100_000_usize, 0..2);
    (vec(section, 0..6), lengths).prop_map(|(mut sections, lengths)| {
        let large = lengths.into_iter().zip(["x", "y"]);
        sections.extend(large.map(|(length, name)| (name.to_owned(), vec![7; length])));
        sections.sort();
        sections.dedup_by(|a, b| a.0 == b.0);
        sections
    })
}

proptest! {
    #[test]
    fn any_sections_survive(sections in sections(), piece in 1..50_000_usize) {
        let (stream, summary) = written(&sections, piece);
        prop_assert_eq!(verified(&stream), Ok(summary));
        prop_assert_eq!(read(&stream, 1), Ok(sections));
    }

    #[test]
    fn hostile_bytes_are_refused_and_never_panic(
        sections in sections(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (stream, _) = written(&sections, 5_000);
        let mut spoiled = stream.clone();
        for (at, byte) in changes {
            spoiled[at.index(stream.len())] = byte;
        }
        spoiled.truncate(stream.len() - cut.index(stream.len()) % 64);
        prop_assert_eq!(verified(&spoiled).is_ok(), spoiled == stream);
        let _ = read(&spoiled, 3);
    }
}
