//! What a Redis server reads: commands, each an array of bulks.

/// Name and arguments.
pub(super) type Command = Vec<Vec<u8>>;

/// Bytes that were written, and no whole command yet.
#[derive(Default)]
pub(super) struct Commands(Vec<u8>);

impl Commands {
    /// The commands that are whole now. The client of the filter writes nothing else.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Command> {
        self.0.extend_from_slice(bytes);
        let mut commands = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some((command, others)) = command(rest) {
            commands.push(command);
            rest = others;
        }
        self.0 = rest.to_vec();
        commands
    }
}

fn command(bytes: &[u8]) -> Option<(Command, &[u8])> {
    let (count, mut rest) = number(b'*', bytes)?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let (size, bytes) = number(b'$', rest)?;
        let (argument, bytes) = bytes.split_at_checked(size)?;
        arguments.push(argument.to_vec());
        let (end, bytes) = bytes.split_at_checked(2)?;
        assert_eq!(end, b"\r\n");
        rest = bytes;
    }
    Some((arguments, rest))
}

fn number(kind: u8, bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.windows(2).position(|end| end == b"\r\n")?;
    assert_eq!(bytes[0], kind, "what is written is no command");
    Some((std::str::from_utf8(&bytes[1..end]).unwrap().parse().unwrap(), &bytes[end + 2..]))
}
