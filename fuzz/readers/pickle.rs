//! A file that `torch.save` wrote: whatever the bytes are, it is read or refused.

use std::io::Cursor;

use gptneo_pickle::TorchFile;

/// A tensor with more numbers is not read; the program reads those alone whose shapes are the network's.
const LARGEST: usize = 1 << 20;

pub(crate) fn read(data: &[u8]) {
    let Ok(mut file) = TorchFile::new(Cursor::new(data)) else { return };
    let small = |shape: &[usize]| shape.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
    let names: Vec<(String, usize)> = file
        .tensors()
        .filter(|(_, tensor)| small(tensor.shape()).is_some_and(|numbers| numbers <= LARGEST))
        .map(|(name, tensor)| {
            (name.to_string(), tensor.shape().iter().product::<usize>() * tensor.number().bytes())
        })
        .collect();
    for (name, size) in names {
        if let Ok(bytes) = file.read(&name) {
            assert_eq!(bytes.len(), size, "a tensor has the bytes that its shape says");
        }
    }
}
