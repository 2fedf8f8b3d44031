# SPDX-License-Identifier: Apache-2.0
# A link that can be cut and slowed down: perl proxy.pl PORT SERVER_PORT, both of 127.0.0.1.
# Whoever wants it mute stops the process, whoever wants it cut kills it.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my ($port, $to) = @ARGV;
my $most = 262144; # bytes that wait for a side that does not read
my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64, ReuseAddr => 1)
    or die "cannot listen: $@";
$SIG{PIPE} = 'IGNORE';
$| = 1;
print "ready\n";

my (%socket, %peer, %waiting); # by the number of the descriptor; waiting: bytes to be sent to it

sub drop {
    my ($side) = @_;
    my @both = ($side, $peer{$side});
    for my $one (@both) {
        close $socket{$one};
        delete $_->{$one} for \%socket, \%peer, \%waiting;
    }
}

sub welcome {
    my $client = $listener->accept or return;
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to);
    return close $client unless $server;
    my ($here, $there) = (fileno $client, fileno $server);
    $_->blocking(0) for $client, $server;
    @socket{$here, $there} = ($client, $server);
    @peer{$here, $there} = ($there, $here);
    @waiting{$here, $there} = ('', '');
}

while (1) {
    my @read = grep { length $waiting{$peer{$_}} < $most } keys %socket;
    my @write = grep { length $waiting{$_} } keys %socket;
    my ($readable, $writable) = IO::Select->select(
        IO::Select->new($listener, map { $socket{$_} } @read),
        IO::Select->new(map { $socket{$_} } @write), undef);
    for my $one (@{$readable // []}) {
        if ($one == $listener) { welcome(); next }
        my $side = fileno $one or next; # dropped in this round
        my $got = sysread($one, $waiting{$peer{$side}}, 65536, length $waiting{$peer{$side}});
        drop($side) if defined $got ? $got == 0 : !$!{EAGAIN};
    }
    for my $one (@{$writable // []}) {
        my $side = fileno $one or next;
        my $sent = syswrite($one, $waiting{$side});
        if (defined $sent) { substr($waiting{$side}, 0, $sent) = '' }
        elsif (!$!{EAGAIN}) { drop($side) }
    }
}
