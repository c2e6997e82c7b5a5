//! A run's curves as TensorBoard reads them: event files of TFRecord frames around small protocol buffers.
//!
//! Frames: `tensorflow/core/lib/io/record_writer.cc`: length (u64), its masked CRC, the bytes, their masked CRC, all
//! little-endian. Messages: `tensorflow/core/util/event.proto` and `framework/summary.proto`; the field numbers are
//! named where they are written.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::TrainingError;
use crate::metrics::MetricsRow;

/// An event file, open for more rows.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    /// The run goes on: TensorBoard is to forget what an earlier file says of the first row's step and later ones.
    restarts: bool,
}

impl EventLog {
    /// A new file in `folder`, which is made. `resumed` is for a run that goes on beside its earlier files.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Io`] if the folder or the file cannot be made.
    pub fn create(folder: &Path, resumed: bool) -> Result<Self, TrainingError> {
        std::fs::create_dir_all(folder).map_err(TrainingError::io("create", folder))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // TensorBoard reads the files of a folder in the order of their names.
        let name = format!("events.out.tfevents.{:010}.{:09}.gptneo-lora", now.as_secs(), now.subsec_nanos());
        let path = folder.join(name);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(TrainingError::io("create", &path))?;
        let mut log = Self { path, file, restarts: resumed };
        let mut event = header(0);
        bytes(&mut event, 3, b"brain.Event:2"); // Event.file_version
        log.write(&event)?;
        Ok(log)
    }

    /// Adds the row's scalars.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Io`] if they cannot be written.
    pub fn append(&mut self, row: &MetricsRow) -> Result<(), TrainingError> {
        if std::mem::take(&mut self.restarts) {
            let mut event = header(row.step());
            bytes(&mut event, 7, &[0x08, 1]); // Event.session_log, its status (1) is START (1)
            self.write(&event)?;
        }
        let mut summary = Vec::new();
        for (tag, number) in scalars(row) {
            let mut value = Vec::new();
            bytes(&mut value, 1, tag.as_bytes()); // Summary.Value.tag
            value.push(2 << 3 | 5); // Summary.Value.simple_value, 32 bits
            value.extend((number as f32).to_le_bytes());
            bytes(&mut summary, 1, &value); // Summary.value
        }
        let mut event = header(row.step());
        bytes(&mut event, 5, &summary); // Event.summary
        self.write(&event)
    }

    fn write(&mut self, event: &[u8]) -> Result<(), TrainingError> {
        self.file.write_all(&frame(event)).map_err(TrainingError::io("append to", &self.path))
    }
}

/// What is shown of a row, under TensorBoard's names.
fn scalars(row: &MetricsRow) -> Vec<(&'static str, f64)> {
    match row {
        MetricsRow::Train(row) => vec![
            ("loss/train", row.loss),
            ("learning_rate", row.learning_rate),
            ("gradient_norm", row.grad_norm),
        ],
        MetricsRow::Validation(row) => vec![("loss/validation", row.loss)],
    }
}

/// An event's time and step.
fn header(step: usize) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut event = vec![1 << 3 | 1]; // Event.wall_time, 64 bits
    event.extend(now.as_secs_f64().to_le_bytes());
    event.push(2 << 3); // Event.step, a varint
    varint(&mut event, step as u64);
    event
}

/// A field of bytes, text or a message.
fn bytes(message: &mut Vec<u8>, field: u8, content: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, content.len() as u64);
    message.extend(content);
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut frame = length.to_vec();
    frame.extend(masked_crc(&length).to_le_bytes());
    frame.extend(data);
    frame.extend(masked_crc(data).to_le_bytes());
    frame
}

/// A CRC of bytes that hold CRCs themselves would be weak, so TFRecord rotates it and adds a constant.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a row is short.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        // The polynomial 0x1EDC6F41, reflected.
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    };
    !data.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metrics::{TrainRow, ValidationRow};

    /// The payloads of a file's frames, every CRC checked.
    fn frames(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let crc = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
            assert_eq!(crc(8), masked_crc(&file[..8]));
            assert_eq!(crc(12 + length), masked_crc(&file[12..12 + length]));
            found.push(file[12..12 + length].to_vec());
            file = &file[16 + length..];
        }
        found
    }

    #[test]
    fn the_crc_is_castagnolis() {
        // RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and 0 to 31. "123456789" is the catalogue's check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn rows_become_frames_and_a_resumed_run_says_where_it_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let train = MetricsRow::Train(TrainRow {
            step: 300,
            loss: 2.5,
            grad_norm: 0.75,
            learning_rate: 1e-3,
            tokens: 9,
            epoch: None,
            seconds: None,
            tokens_per_second: None,
            loss_scale: None,
            skipped: false,
        });
        let validation =
            MetricsRow::Validation(ValidationRow { step: 300, loss: 1.5, perplexity: 4.5, tokens: 9 });
        for resumed in [false, true] {
            let folder = folder.path().join(format!("{resumed}/tensorboard"));
            let mut log = EventLog::create(&folder, resumed).unwrap();
            log.append(&train).unwrap();
            log.append(&validation).unwrap();
            let mut frames = frames(&std::fs::read(&log.path).unwrap());
            // Without the time: field 1, 9 bytes.
            let events: Vec<Vec<u8>> = frames.iter_mut().map(|frame| frame.split_off(9)).collect();
            assert_eq!(events[0], [b"\x10\x00\x1a\x0dbrain.Event:2".to_vec()].concat());
            let rest = if resumed {
                assert_eq!(events[1], b"\x10\xac\x02\x3a\x02\x08\x01", "step 300 and START");
                &events[2..]
            } else {
                &events[1..]
            };
            assert_eq!(rest.len(), 2);
            let value = [b"\x0a\x0aloss/train\x15".to_vec(), 2.5f32.to_le_bytes().to_vec()].concat();
            assert!(rest[0].starts_with(b"\x10\xac\x02\x2a"), "step 300 and a summary");
            assert!(rest[0].windows(value.len()).any(|bytes| bytes == value), "{:?}", rest[0]);
            let value = [b"\x0a\x0floss/validation\x15".to_vec(), 1.5f32.to_le_bytes().to_vec()].concat();
            assert_eq!(rest[1], [b"\x10\xac\x02\x2a\x18\x0a\x16".to_vec(), value].concat());
        }
    }
}
