#!/usr/bin/env python3
"""A listener for a verdict queue of ffwd, with nothing but the standard library.

    queue_listener.py SOCKET QUEUE [accept|drop]

It decides every packet alike and prints a line for each. The protocol is described in
docs/queue-protocol.md, whose words are used here.
"""
import array
import mmap
import select
import socket
import struct
import sys

MAGIC, VERSION = 0x51564646, 2
HELLO, WELCOME, REFUSE, READY = 1, 2, 3, 6
DROP, ACCEPT = 1, 2
TEE = 4  # flag of a packet: a copy, nobody waits for a verdict


class Lane:
    """One worker's rings: packets in, verdicts out.

    Positions go through a memoryview of 64-bit words: struct reads and writes bytes one
    by one, and the other side would see half of a new position.
    """

    def __init__(self, packets, verdicts, worker, packet_ring, verdict_ring):
        self.packets, self.verdicts = packets, verdicts
        self.packet_ring, self.verdict_ring = packet_ring, verdict_ring
        self.p = worker * (128 + packet_ring)
        self.v = 64 + worker * (128 + verdict_ring)
        self.theirs, self.ours = memoryview(packets).cast("Q"), memoryview(verdicts).cast("Q")
        self.head = self.tail = 0

    def receive(self):
        """Yields the packets that are there: (id, flags, length, data)."""
        end = self.theirs[self.p // 8]
        while self.head != end:
            at = self.p + 128 + self.head % self.packet_ring
            size, kind, flags = struct.unpack_from("<IBB", self.packets, at)
            if kind == 1:
                ident, = struct.unpack_from("<Q", self.packets, at + 8)
                length, copied = struct.unpack_from("<II", self.packets, at + 48)
                yield ident, flags, length, self.packets[at + 64:at + 64 + copied]
            self.head += size
        self.ours[self.v // 8] = self.head

    def decide(self, ident, action):
        """Writes a verdict of 32 bytes; all are that long here, so none has to be skipped for."""
        while self.tail + 32 - self.theirs[self.p // 8 + 8] > self.verdict_ring:
            pass  # a worker takes verdicts within microseconds
        at = self.v + 128 + self.tail % self.verdict_ring
        struct.pack_into("<IBBHQIIII", self.verdicts, at, 32, action, 0, 0, ident, 0, 0, 0, 0)
        self.tail += 32
        self.ours[self.v // 8 + 8] = self.tail


def bind(path, queue):
    """Says hello; returns the socket, the welcome's numbers and the three descriptors."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        s.connect(path)
    except OSError as e:
        sys.exit(f"{path}: {e.strerror}: is the switch running, and has it this control.queue_socket?")
    s.send(struct.pack("<IHHHHI", MAGIC, VERSION, HELLO, queue, 0, 0))
    message, ancillary, _, _ = s.recvmsg(256, socket.CMSG_SPACE(3 * 4))
    if struct.unpack_from("<IHH", message)[2] == REFUSE:
        sys.exit(message[10:].decode())
    files = array.array("i", b"".join(data for _, _, data in ancillary))
    return s, struct.unpack_from("<HHIIIIII", message, 8), files


def main():
    if len(sys.argv) not in (3, 4) or not sys.argv[2].isdigit() or sys.argv[3:] not in ([], ["accept"], ["drop"]):
        sys.exit(__doc__)
    path, queue = sys.argv[1], int(sys.argv[2])
    action = DROP if sys.argv[3:] == ["drop"] else ACCEPT
    s, (_, workers, packet_ring, verdict_ring, *_), files = bind(path, queue)
    packets = mmap.mmap(files[0], workers * (128 + packet_ring), prot=mmap.PROT_READ)
    verdicts = mmap.mmap(files[1], 64 + workers * (128 + verdict_ring))
    s.send(struct.pack("<IHH", MAGIC, VERSION, READY))
    wake, both = select.epoll.fromfd(files[2]), select.epoll()
    both.register(files[2], select.EPOLLIN)
    both.register(s, select.EPOLLIN | select.EPOLLRDHUP)
    lanes = [Lane(packets, verdicts, w, packet_ring, verdict_ring) for w in range(workers)]
    while True:
        struct.pack_into("<I", verdicts, 0, 1)  # asleep, unless there is something now
        idle = True
        for lane in lanes:
            for ident, flags, length, data in lane.receive():
                if not flags & TEE:
                    lane.decide(ident, action)
                idle = False
                print(f"id {ident:#x} length {length} {data[:40].hex()}", flush=True)
        if idle:  # Python has no barrier: look again soon
            if s.fileno() in dict(both.poll(0.005)):
                return
            wake.poll(0)
        struct.pack_into("<I", verdicts, 0, 0)


if __name__ == "__main__":
    main()
