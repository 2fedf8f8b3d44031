# SPDX-License-Identifier: Apache-2.0
# A collector of traces: perl collector.pl FOLDER [PORT]. Prints its port; writes each request as a line into
# FOLDER/requests: method, path, two headers, body, with tabs between them. What it answers is
# in FOLDER/mode: a status, perhaps with further headers and "| BODY"; or "hang", for not at all.
use strict;
use warnings;
use IO::Socket::INET;

my ($folder, $port) = @ARGV;
$SIG{CHLD} = 'IGNORE';
my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => $port // 0, Listen => 16, ReuseAddr => 1)
    or die "cannot listen: $@";
$| = 1;
print 'port ', $listener->sockport, "\n";

sub mode {
    open(my $file, '<', "$folder/mode") or return '200';
    my $text = <$file> // '200';
    chomp $text;
    return $text;
}

sub serve {
    my ($client) = @_;
    my $input = '';
    while (1) {
        while ($input !~ /\r\n\r\n/) {
            sysread($client, $input, 65536, length $input) or return;
        }
        my ($head, $body) = $input =~ /^(.*?\r\n)\r\n(.*)$/s;
        my ($method, $path) = $head =~ /^(\S+) (\S+)/;
        my ($len) = $head =~ /^content-length: *(\d+)/im;
        while (length $body < ($len // 0)) {
            sysread($client, $body, 65536, length $body) or return;
        }
        my ($type) = $head =~ /^content-type: *(.*?)\r$/im;
        my ($key) = $head =~ /^x-key: *(.*?)\r$/im;
        open(my $file, '>>', "$folder/requests") or die;
        syswrite($file, join("\t", $method, $path, $type // '', $key // '', $body) . "\n");
        close $file;
        my ($mode, $said) = split / *\| */, mode(), 2;
        my ($status, $more) = split / /, $mode, 2;
        $said //= '{}';
        if ($status eq 'hang') {
            sysread($client, $input, 1); # until the other side gives up
            return;
        }
        $more = defined $more ? "$more\r\n" : '';
        my $length = length $said;
        syswrite($client, "HTTP/1.1 $status X\r\nContent-Length: $length\r\n$more\r\n$said");
        $input = '';
    }
}

while (1) {
    my $client = $listener->accept or next;
    my $pid = fork // die;
    if ($pid == 0) {
        close $listener;
        serve($client);
        exit 0;
    }
    close $client;
}
