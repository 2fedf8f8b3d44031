# SPDX-License-Identifier: Apache-2.0
# A server that does what each line of a client says: spec/support/peer.lua.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOL_SOCKET SO_LINGER);
use POSIX ();
use Time::HiRes 'time';

my $path = shift;
my $listener = defined $path
    ? IO::Socket::UNIX->new(Local => $path, Listen => 16)
    : IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16);
$listener or die "cannot listen: $!";
$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';
$| = 1;
my $parent = $$;
print "listening on ", defined $path ? $path : $listener->sockport, "\n";

my %does = (
    # Bytes as they stand in Perl's double quotes.
    send => sub { my ($client, $text) = @_; $text =~ s/(\\\w)/qq("$1")/gee; syswrite $client, $text },
    many => sub { my ($client, $count) = @_; my $all = 'x' x $count; my $at = 0;
        while ($at < $count) { $at += syswrite($client, $all, $count - $at, $at) // return } },
    # Not after the end of the server, which ends nobody else.
    sleep => sub { my $end = time + $_[1]; my $rest;
        while (($rest = $end - time) > 0 && getppid == $parent) {
            select undef, undef, undef, $rest < 0.1 ? $rest : 0.1 }
        getppid == $parent or POSIX::_exit(0) },
    # Says how much has come until the other side was done.
    count => sub { my ($client) = @_; my ($got, $bytes) = (0, '');
        while ((my $n = sysread $client, $bytes, 65536) > 0) { $got += $n }
        syswrite $client, "$got\n" },
    close => sub { POSIX::_exit(0) },
    reset => sub { setsockopt $_[0], SOL_SOCKET, SO_LINGER, pack('ii', 1, 0); POSIX::_exit(0) },
    pid => sub { syswrite $_[0], "$$\n" },
);

while (1) {
    my $client = $listener->accept or next;
    next if fork;
    close $listener;
    my $line = '';
    while (sysread $client, my $byte, 1) {
        if ($byte ne "\n") { $line .= $byte; next }
        my ($word, $rest) = split / /, $line, 2;
        $line = '';
        $does{$word} ? $does{$word}->($client, $rest) : syswrite $client, "what is $word?\n";
    }
    POSIX::_exit(0);
}
