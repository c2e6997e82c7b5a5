//! A GGUF file: every tensor of one that is accepted can be read, or it is refused in a line.

use std::io::Cursor;

use gptneo_gguf::Reader;

pub(crate) fn read(data: &[u8]) {
    match Reader::new(Cursor::new(data)) {
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 1000 && !message.contains(char::is_control), "{message:?}");
        }
        Ok(mut file) => {
            let tensors: Vec<_> = file.tensors().cloned().collect();
            for tensor in tensors {
                let values = file.values(&tensor.name).map(|values| values.len());
                assert_eq!(values.ok(), Some(tensor.shape.iter().product::<usize>()), "{tensor:?}");
            }
        }
    }
}
