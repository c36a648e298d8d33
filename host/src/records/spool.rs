//! The spool: journal lines in files, from the moment they happen until the database has
//! their call. A record is written with one `write`, so that a killed process loses nothing
//! that it wrote; a power cut loses at most what came after the last [`Spool::sync`].
//!
//! A file ("segment") is a sequence of records: length, CRC-32, call, tag, payload. A record
//! that is cut short or damaged ends its segment; what is before it counts.

use b2bua::key::CallKey;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub segment: u32,
    pub offset: u32,
    pub len: u32,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// One journal line.
    Event,
    /// The database has the call.
    Moved,
}

/// One record of an earlier run.
#[derive(Debug)]
pub struct Recovered {
    pub call: CallKey,
    pub tag: Tag,
    pub place: Place,
}

pub struct Spool {
    dir: PathBuf,
    /// A segment that is larger than this is followed by the next; below 4 GiB.
    segment_bytes: u32, // 32 MiB
    files: Files,
    sizes: BTreeMap<u32, u32>,
    current: u32,
    /// Records that are not in the file yet.
    buffer: Vec<u8>,
    dirty: bool,
}

/// Reads payloads; for any thread.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<BTreeMap<u32, Arc<File>>>>);

impl Spool {
    /// Opens the folder, and gives all records that earlier runs left. Writing begins in a new
    /// segment.
    pub fn open(dir: &Path, segment_bytes: u32) -> io::Result<(Spool, Vec<Recovered>)> {
        fs::create_dir_all(dir)?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_suffix(SUFFIX))
                .and_then(|stem| stem.parse::<u32>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        let mut spool = Spool {
            dir: dir.to_owned(),
            segment_bytes,
            files: Files::default(),
            sizes: BTreeMap::new(),
            current: numbers.last().map_or(1, |last| last + 1),
            buffer: Vec::new(),
            dirty: false,
        };
        let mut recovered = Vec::new();
        for number in numbers {
            let mut file = File::open(spool.path(number))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let good = scan(number, &bytes, &mut recovered);
            if good < bytes.len() {
                tracing::warn!(
                    segment = number,
                    lost = bytes.len() - good,
                    "the end of a journal segment was cut short"
                );
            }
            spool
                .sizes
                .insert(number, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            spool.files.lock().insert(number, Arc::new(file));
        }
        spool.begin_segment()?;
        Ok((spool, recovered))
    }

    /// Puts a record into the buffer; [`Spool::write`] brings it to the file.
    pub fn append(&mut self, call: CallKey, tag: Tag, payload: &[u8]) -> Place {
        let offset = self.size() + self.buffer.len() as u32 + HEADER as u32;
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 8]);
        self.buffer
            .extend_from_slice(&media::SessionKey::from(call).0.to_le_bytes());
        self.buffer.push(match tag {
            Tag::Event => 0,
            Tag::Moved => 1,
        });
        self.buffer.extend_from_slice(payload);
        let crc = crc32fast::hash(&self.buffer[start + 8..]);
        self.buffer[start..start + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        self.buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        Place {
            segment: self.current,
            offset,
            len: payload.len() as u32,
        }
    }

    /// Bytes that wait in the buffer.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Brings the buffer to the file. On an error its records are lost, and the file is as it
    /// was before.
    pub fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let size = self.size();
        let file = self.file();
        let result = file.write_all_at(&self.buffer, u64::from(size));
        match result {
            Ok(()) => {
                self.sizes
                    .insert(self.current, size + self.buffer.len() as u32);
                self.dirty = true;
                self.buffer.clear();
                if self.size() >= self.segment_bytes {
                    self.sync()?;
                    self.current += 1;
                    self.begin_segment()?;
                }
                Ok(())
            }
            Err(error) => {
                self.buffer.clear();
                // A part of a record would hide what comes after it.
                file.set_len(u64::from(size))?;
                Err(error)
            }
        }
    }

    /// Makes sure that a power cut keeps what was written.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.file().sync_data()?;
        }
        Ok(())
    }

    /// Deletes a segment that nobody needs.
    pub fn remove(&mut self, segment: u32) -> io::Result<()> {
        self.sizes.remove(&segment);
        self.files.lock().remove(&segment);
        fs::remove_file(self.path(segment))
    }

    /// Deletes everything. Nothing can be written after it.
    pub fn remove_all(&mut self) -> io::Result<()> {
        for segment in self.sizes.keys().copied().collect::<Vec<_>>() {
            self.remove(segment)?;
        }
        Ok(())
    }

    /// The oldest segment, if it is not the one that is written to.
    pub fn oldest(&self) -> Option<u32> {
        self.sizes
            .keys()
            .next()
            .copied()
            .filter(|segment| *segment != self.current)
    }

    pub fn segments(&self) -> usize {
        self.sizes.len()
    }

    /// On disk.
    pub fn bytes(&self) -> u64 {
        self.sizes.values().map(|size| u64::from(*size)).sum()
    }

    pub fn files(&self) -> Files {
        self.files.clone()
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let path = self.path(self.current);
        let mut file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(path)?;
        file.write_all(MAGIC)?;
        self.files.lock().insert(self.current, Arc::new(file));
        self.sizes.insert(self.current, MAGIC.len() as u32);
        Ok(())
    }

    fn size(&self) -> u32 {
        self.sizes.get(&self.current).copied().unwrap_or(0)
    }

    fn file(&self) -> Arc<File> {
        self.files
            .lock()
            .get(&self.current)
            .cloned()
            .expect("the current segment is open")
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.dir.join(format!("{segment:08}{SUFFIX}"))
    }
}

impl Files {
    /// The payloads, one after the other, each with `end` after it.
    pub fn read(&self, places: &[Place], end: u8) -> io::Result<Vec<u8>> {
        let files = self.lock().clone();
        let mut out = Vec::with_capacity(places.iter().map(|place| place.len as usize + 1).sum());
        for place in places {
            let start = out.len();
            out.resize(start + place.len as usize, 0);
            read_at(&files, place.segment, &mut out[start..], place.offset)?;
            out.push(end);
        }
        Ok(out)
    }

    /// The same for many at once, each list of places into a buffer of its own. What lies near
    /// to each other is read with one system call.
    pub fn read_all(&self, lists: &[&[Place]], end: u8) -> io::Result<Vec<Vec<u8>>> {
        let files = self.lock().clone();
        let mut out: Vec<Vec<u8>> = Vec::with_capacity(lists.len());
        // Where each payload lies in the files, and where it goes.
        let mut pieces = Vec::new();
        for (list, places) in lists.iter().enumerate() {
            let mut at = 0;
            for place in *places {
                pieces.push((place.segment, place.offset, place.len, list, at));
                at += place.len as usize + 1;
            }
            out.push(vec![end; at]);
        }
        pieces.sort_unstable();
        let mut run = Vec::new();
        let mut rest = pieces.as_slice();
        while let Some((segment, start, ..)) = rest.first().copied() {
            let mut stop = start;
            let near = |piece: &&(u32, u32, u32, usize, usize), stop: u32| {
                piece.0 == segment && piece.1.saturating_sub(stop) <= GAP && piece.1 - start <= RUN
            };
            let mut count = 0;
            while let Some(piece) = rest.get(count).filter(|piece| near(piece, stop)) {
                stop = piece.1 + piece.2;
                count += 1;
            }
            run.resize((stop - start) as usize, 0);
            read_at(&files, segment, &mut run, start)?;
            for (_, offset, len, list, at) in &rest[..count] {
                let from = (offset - start) as usize;
                out[*list][*at..at + *len as usize]
                    .copy_from_slice(&run[from..from + *len as usize]);
            }
            rest = &rest[count..];
        }
        Ok(out)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<File>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_at(
    files: &BTreeMap<u32, Arc<File>>,
    segment: u32,
    out: &mut [u8],
    offset: u32,
) -> io::Result<()> {
    let file = files.get(&segment).ok_or(io::ErrorKind::NotFound)?;
    file.read_exact_at(out, u64::from(offset))
}

/// Reads records up to the first bad one; gives how many bytes were good.
fn scan(segment: u32, bytes: &[u8], out: &mut Vec<Recovered>) -> usize {
    if !bytes.starts_with(MAGIC) {
        return 0;
    }
    let mut at = MAGIC.len();
    while let Some(header) = bytes.get(at..at + HEADER) {
        let number = |from: usize| {
            u32::from_le_bytes([
                header[from],
                header[from + 1],
                header[from + 2],
                header[from + 3],
            ])
        };
        let (len, crc) = (number(0), number(4));
        let Some(checked) = bytes.get(at + 8..at + HEADER + len as usize) else {
            break;
        };
        if crc32fast::hash(checked) != crc {
            break;
        }
        let mut call = [0; 16];
        call.copy_from_slice(&header[8..24]);
        let tag = match header[24] {
            0 => Tag::Event,
            1 => Tag::Moved,
            _ => break,
        };
        let place = Place {
            segment,
            offset: (at + HEADER) as u32,
            len,
        };
        out.push(Recovered {
            call: media::SessionKey(u128::from_le_bytes(call)).into(),
            tag,
            place,
        });
        at += HEADER + len as usize;
    }
    at
}

/// Bytes between two payloads that are read rather than skipped.
const GAP: u32 = 16 << 10;
/// Bytes that are read at once.
const RUN: u32 = 1 << 20;
const SUFFIX: &str = ".spool";
const MAGIC: &[u8] = b"gpspool1";
/// Length, CRC, call, tag.
const HEADER: usize = 4 + 4 + 16 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> CallKey {
        CallKey::new(0, number, 7)
    }

    #[test]
    fn what_was_written_is_there_after_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, before) = Spool::open(folder.path(), 1 << 20).unwrap();
        assert!(before.is_empty());
        let one = spool.append(key(1), Tag::Event, b"{\"seq\":0}");
        let two = spool.append(key(2), Tag::Moved, b"");
        spool.write().unwrap();
        assert_eq!(
            spool.files().read(&[one, two], b'\n').unwrap(),
            b"{\"seq\":0}\n\n"
        );
        // No goodbye: the process is gone.
        std::mem::forget(spool);
        let (again, found) = Spool::open(folder.path(), 1 << 20).unwrap();
        let found: Vec<_> = found.iter().map(|r| (r.call, r.tag, r.place)).collect();
        assert_eq!(
            found,
            [(key(1), Tag::Event, one), (key(2), Tag::Moved, two)]
        );
        assert_eq!(again.files().read(&[one], 0).unwrap(), b"{\"seq\":0}\0");
    }

    #[test]
    fn many_lists_are_read_as_each_one_would_be() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path(), 200_000).unwrap();
        let mut lists = vec![Vec::new(); 7];
        for number in 0..400u32 {
            let payload = vec![b'a' + (number % 26) as u8; (number * 37 % 3000) as usize];
            lists[(number * number % 7) as usize].push(spool.append(
                key(number),
                Tag::Event,
                &payload,
            ));
            spool.write().unwrap();
        }
        assert!(spool.segments() > 2);
        let files = spool.files();
        let wanted: Vec<_> = lists
            .iter()
            .map(|places| files.read(places, b'\n').unwrap())
            .collect();
        let lists: Vec<&[Place]> = lists.iter().map(Vec::as_slice).collect();
        assert_eq!(files.read_all(&lists, b'\n').unwrap(), wanted);
    }

    #[test]
    fn a_torn_tail_costs_only_the_torn_record() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path(), 1 << 20).unwrap();
        for number in 1..=3 {
            spool.append(key(number), Tag::Event, b"0123456789");
        }
        spool.write().unwrap();
        let path = folder.path().join("00000001.spool");
        let whole = fs::read(&path).unwrap();
        for cut in 1..=10 + HEADER {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let mut found = Vec::new();
            scan(1, &fs::read(&path).unwrap(), &mut found);
            assert_eq!(found.len(), 2, "{cut} bytes cut");
        }
        let mut damaged = whole.clone();
        let middle = whole.len() - 15 - HEADER;
        damaged[middle] ^= 1;
        let mut found = Vec::new();
        let good = scan(1, &damaged, &mut found);
        assert_eq!((found.len(), good), (1, MAGIC.len() + HEADER + 10));
        // Any length in a header is survived.
        let mut absurd = whole;
        absurd[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(scan(1, &absurd, &mut Vec::new()), MAGIC.len());
    }

    #[test]
    fn a_full_segment_is_followed_by_the_next_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path(), 100).unwrap();
        for number in 1..=10 {
            spool.append(key(number), Tag::Event, &[b'x'; 40]);
            spool.write().unwrap();
        }
        assert!(spool.segments() > 3);
        let oldest = spool.oldest().unwrap();
        spool.remove(oldest).unwrap();
        assert_ne!(spool.oldest(), Some(oldest));
        let (_, found) = Spool::open(folder.path(), 100).unwrap();
        assert_eq!(found.len(), 8);
    }
}
