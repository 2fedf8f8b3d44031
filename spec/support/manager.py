# What a process is told by sd_notify(3): python3 manager.py PATH|@NAME. Each datagram becomes one
# line: milliseconds, the process that has sent it, and its lines with " | " between them.
import socket, struct, sys, time

name = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
listener.bind("\0" + name[1:] if name[0] == "@" else name)
print("listens", flush=True)
while True:
    data, ancillary, _, _ = listener.recvmsg(4096, socket.CMSG_SPACE(12))
    pid = struct.unpack("3i", ancillary[0][2])[0]
    lines = data.decode().replace("\n", " | ")
    print(int(time.monotonic() * 1000), pid, lines, flush=True)
