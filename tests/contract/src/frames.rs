//! Finds the messages in a byte stream of HTTP/2, so that a connection can be cut exactly where one begins. It knows frames'
//! headers and nothing of what is in them.

/// What a client says before its first frame.
const PREFACE: usize = 24;
const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// One direction of one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes that belong to what has begun.
    skip: usize,
    header: Vec<u8>,
}

impl Frames {
    /// What a client sends.
    pub(crate) fn of_client() -> Self {
        Self { skip: PREFACE, header: Vec::new() }
    }

    /// What a server sends.
    pub(crate) fn of_server() -> Self {
        Self { skip: 0, header: Vec::new() }
    }

    /// Whether a part of a request or of an answer begins in `bytes`, the next of the stream. Pings, settings and windows are
    /// neither.
    pub(crate) fn begin_in(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return found;
            }
            let missing = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if let [a, b, c, kind, _, _, _, _, _] = self.header[..] {
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                found |= matches!(kind, DATA | HEADERS);
                self.header.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        bytes.resize(HEADER + usize::from(length), DATA);
        bytes
    }

    #[test]
    fn messages_are_found_however_the_stream_is_cut() {
        const PING: u8 = 6;
        let mut stream = vec![b'P'; PREFACE];
        stream.extend(frame(PING, 8));
        let begin = stream.len();
        stream.extend(frame(HEADERS, 3));
        for size in 1..=stream.len() {
            let mut frames = Frames::of_client();
            let mut seen = 0;
            for part in stream.chunks(size) {
                let found = frames.begin_in(part);
                seen += part.len();
                // A header is known once it is there whole.
                assert_eq!(found, seen >= begin + HEADER && seen - part.len() < begin + HEADER, "{size}");
            }
        }
        let mut answers = Frames::of_server();
        assert!(!answers.begin_in(&frame(PING, 8)) && answers.begin_in(&frame(DATA, 0)));
    }
}
