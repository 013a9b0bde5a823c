// The shell as wasm in Node, with real programs, over the model of process.
import { beforeAll, describe, expect, it } from 'vitest';
import { System, type Outcome } from './model.ts';

let system: System;
beforeAll(async () => {
  system = new System();
  await system.install('sh', 'cat', 'echo', 'wc', 'sort', 'grep', 'env', 'false', 'true', 'head', 'seq', 'ls');
  system.write('/etc/motd', 'hello\nworld\n');
});
const sh = (text: string, stdin = '', ...args: string[]): Outcome => system.run(['sh', '-c', text, 'sh', ...args], stdin);
const out = (text: string, stdin = '', ...args: string[]): string => { const o = sh(text, stdin, ...args); expect(o.stderr).toBe(''); return o.stdout; };

describe('commands', () => {
  it('runs the command of the issue', () => expect(sh('cat /etc/motd; exit 7')).toEqual({ status: 7, stdout: 'hello\nworld\n', stderr: '' }));
  it('joins with ; && || and !', () => expect(out('true && echo a; false && echo b; false || echo c; ! false && echo d')).toBe('a\nc\nd\n'));
  it('has the status of the last command', () => { expect(sh('false').status).toBe(1); expect(sh('true; false; true').status).toBe(0); expect(sh('').status).toBe(0); });
  it('says 127 for a command that is not there', () => expect(sh('nonesuch x')).toEqual({ status: 127, stdout: '', stderr: 'sh: nonesuch: command not found\n' }));
  it('says 126 for a directory', () => expect(sh('/etc').status).toBe(126));
  it('ignores comments and empty lines', () => expect(out('# one\n\necho a # two\n\n')).toBe('a\n'));
  it('continues lines behind a backslash', () => expect(out('echo a\\\nb \\\n c')).toBe('ab c\n'));
});

describe('pipes and redirections', () => {
  it('connects programs', () => expect(out('cat /etc/motd | grep w | wc -l')).toBe('1\n'));
  it('connects builtins, groups and loops', () => {
    expect(out('{ echo b; echo a; } | sort')).toBe('a\nb\n');
    expect(out('for i in 1 2 3; do echo $i; done | wc -l')).toBe('3\n');
    expect(out('x=5; f() { echo "f $x $1"; }; f y | cat')).toBe('f 5 y\n');
  });
  it('writes, appends and reads files', () => {
    expect(out('echo one > /tmp/f; echo two >> /tmp/f; cat < /tmp/f; > /tmp/f; wc -c /tmp/f')).toBe('one\ntwo\n0 /tmp/f\n');
  });
  it('redirects errors', () => {
    expect(sh('cat /nope 2> /tmp/e').stderr).toBe('');
    expect(system.read('/tmp/e')).toContain('no such file');
    expect(out('cat /nope 2>&1 | grep -c no')).toBe('1\n');
    expect(sh('{ echo a; cat /nope; } > /tmp/both 2>&1; cat /tmp/both').stdout).toBe('a\ncat: /nope: no such file or directory\n');
    expect(sh('echo a >&2').stderr).toBe('a\n');
    expect(out('cat /nope &> /tmp/g; wc -l < /tmp/g')).toBe('1\n');
  });
  it('redirects a loop and a builtin, and only those', () => expect(out('for i in a b; do echo $i; done > /tmp/l; echo end; cat /tmp/l')).toBe('end\na\nb\n'));
  it('complains about a target it cannot open and does not run the command', () => expect(sh('echo x > /nodir/f; echo $?')).toEqual({ status: 0, stdout: '1\n', stderr: 'sh: /nodir/f: no such file or directory\n' }));
  it('reads here-documents, expanded and literal', () => {
    expect(out('x=1; cat <<E\na $x\n$(echo b)\nE\necho after')).toBe('a 1\nb\nafter\n');
    expect(out("cat <<'E'\na $x\nE\n")).toBe('a $x\n');
  });
  it('has the status of the last program of a pipe', () => { expect(sh('false | true').status).toBe(0); expect(sh('true | false').status).toBe(1); });
});

describe('words', () => {
  it('keeps quoted text together', () => expect(out('echo "a  b" \'c  "d"\' e\\ f "g\\"h" \'$x\'')).toBe('a  b c  "d" e f g"h $x\n'));
  it('splits what came from a variable unless it is quoted', () => expect(out('x="a  b"; echo $x; echo "$x"')).toBe('a b\na  b\n'));
  it('expands parameters', () => {
    expect(out('echo $1 $2 $# "$@" $0', '', 'p q', 'r')).toBe('p q r 2 p q r sh\n');
    expect(out('for a in "$@"; do echo "<$a>"; done', '', 'p q', '', 'r')).toBe('<p q>\n<>\n<r>\n');
    expect(out('for a in "$@"; do echo x; done; for a; do echo y; done')).toBe('');
    expect(out('shift; echo $1; set -- x y; echo $2 $#', '', 'p', 'q')).toBe('q\ny 2\n');
  });
  it('has defaults, alternatives, lengths and trims', () => {
    expect(out('echo ${x:-d} ${x:=e} $x ${x:+f} ${#x} ${y:+g}.')).toBe('d e e f 1 .\n');
    expect(out('f=dir/name.tar.gz; echo ${f%.*} ${f%%.*} ${f#*/} ${f##*.}')).toBe('dir/name.tar dir/name name.tar.gz gz\n');
    expect(sh('echo ${x:?gone}; echo on')).toEqual({ status: 1, stdout: '', stderr: 'sh: x: gone\n' });
  });
  it('substitutes commands, without the last newlines', () => expect(out('echo "[$(echo a; echo b; echo)]" `echo c` $(echo "d  e")')).toBe('[a\nb] c d e\n'));
  it('nests substitutions and quotes', () => expect(out('echo "$(echo "a $(echo "b c")")"')).toBe('a b c\n'));
  it('computes', () => {
    expect(out('x=6; echo $((x*7)) $((1+2*3-4)) $(( (1+2)*3 )) $((7/2)) $((-7%3)) $((1<<4|1)) $((5>3&&2<1)) $((x==6?10:20)) $((0x1f)) $((x=3)) $x')).toBe('42 3 9 3 -1 17 0 10 31 3 3\n');
    expect(sh('echo $((1/0))').stderr).toContain('division by zero');
  });
  it('matches names', () => {
    for (const n of ['a1', 'a2', 'b1', '.h']) system.write(`/tmp/${n}`, '');
    system.mkdir('/tmp/g'); system.write('/tmp/g/x.c', ''); system.write('/tmp/g/y.c', ''); system.write('/tmp/g/z', '');
    expect(out('cd /tmp/g; echo *.c [xz]* ? "*" \\* *.q')).toBe('x.c y.c x.c z z * * *.q\n');
    expect(out('echo /t*p/g/*.c')).toBe('/tmp/g/x.c /tmp/g/y.c\n');
    expect(out('cd /tmp/g; x="*.c"; echo $x; echo "$x"')).toBe('x.c y.c\n*.c\n');
  });
  it('expands the tilde', () => expect(out('HOME=/tmp; echo ~ ~/x "~" a~')).toBe('/tmp /tmp/x ~ a~\n'));
});

describe('control', () => {
  it('if, elif, else', () => expect(out('for i in 1 2 3; do if [ $i = 1 ]; then echo one; elif test $i -eq 2; then echo two; else echo more; fi; done')).toBe('one\ntwo\nmore\n'));
  it('while, until, break, continue', () => {
    expect(out('i=0; while [ $i -lt 5 ]; do i=$((i+1)); [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done')).toBe('1\n3\n');
    expect(out('i=0; until [ $i = 2 ]; do echo $i; i=$((i+1)); done')).toBe('0\n1\n');
    expect(out('for a in 1 2; do for b in 1 2; do [ $b = 2 ] && continue 2; echo $a$b; done; done')).toBe('11\n21\n');
  });
  it('case', () => expect(out('for w in apple bee x; do case $w in a*) echo A;; b?e|c) echo B;; *) echo other; esac; done')).toBe('A\nB\nother\n'));
  it('functions with return, local parameters and recursion', () => {
    expect(sh('f() { echo $1; return 3; echo no; }; f x; echo $? $1', '', 'outer')).toEqual({ status: 0, stdout: 'x\n3 outer\n', stderr: '' });
    expect(out('f() { [ $1 = 0 ] && return; echo $1; f $(($1-1)); }; f 3')).toBe('3\n2\n1\n');
  });
  it('sub-shells do not change the shell', () => expect(out('x=1; (x=2; cd /tmp; echo $x); echo $x; pwd')).toBe('2\n1\n/\n'));
  it('set -e stops at a failure, but not in conditions', () => expect(sh('set -e; false || echo a; if false; then :; fi; false; echo never')).toEqual({ status: 1, stdout: 'a\n', stderr: '' }));
  it('exit ends everything around it', () => expect(sh('for i in 1 2; do { exit 4; }; done; echo no')).toEqual({ status: 4, stdout: '', stderr: '' }));
});

describe('variables and builtins', () => {
  it('exports only what is exported', () => expect(out('a=1; export b=2; c=3 env | grep "^[abc]="')).toBe('b=2\nc=3\n'));
  it('assignments before a command are for that command', () => expect(out('x=1; x=2 env | grep ^x; echo $x')).toBe('x=2\n1\n'));
  it('cd, pwd, cd -', () => expect(out('cd /tmp; pwd; cd /etc; pwd; cd -; cd; pwd')).toBe('/tmp\n/etc\n/tmp\n/\n'));
  it('read takes one line and leaves the rest', () => expect(out('read a b; echo "$a|$b"; cat', 'one two  three\nrest\n')).toBe('one|two  three\nrest\n'));
  it('while read works over a file', () => expect(out('while read x; do echo "<$x>"; done < /etc/motd')).toBe('<hello>\n<world>\n'));
  it('eval, dot, printf, unset, readonly', () => {
    system.write('/tmp/script', 'y=from; return 5; echo no\n');
    expect(out("eval 'x=1; echo $x'; . /tmp/script; echo $? $y; printf '%s-%d|%5s|%-4s|%04d\\n' a 12 b c 7; unset y; echo [$y]")).toBe('1\n5 from\na-12|    b|c   |0007\n[]\n');
    expect(sh('readonly r=1; r=2; echo $r').stdout).toBe('1\n');
  });
  it('$? is that of the command before', () => expect(out('false; echo $?; echo $?')).toBe('1\n0\n'));
  it('the status of an assignment is that of its substitution', () => expect(out('x=$(false); echo $?; x=a; echo $?')).toBe('1\n0\n'));
  it('background commands can be waited for', () => expect(out('echo a & wait; echo $?')).toBe('a\n0\n'));
});

describe('input', () => {
  it('reads commands from its input', () => expect(system.run(['sh'], 'echo a\nif true\nthen echo b\nfi\nexit 3\necho c\n')).toEqual({ status: 3, stdout: 'a\nb\n', stderr: '' }));
  it('runs script files, also without being asked', () => {
    system.write('/tmp/s', 'echo $0 $1\nexit 2\n');
    expect(system.run(['sh', '/tmp/s', 'x'])).toEqual({ status: 2, stdout: '/tmp/s x\n', stderr: '' });
    expect(sh('/tmp/s y').stdout).toBe('/tmp/s y\n');
  });
  for (const bad of ['if true', 'echo "a', 'echo $(', '( echo', 'echo a |', 'for i in 1; do', 'fi', 'echo )', 'a && && b', 'case x in', '{ echo', 'echo ${', ';;', '| a', 'f() ', 'for 1 in a; do :; done', '$((', '!', '&', 'while do done', 'cat <<E']) {
    it(`refuses ${JSON.stringify(bad)} with status 2 and one line`, () => {
      const o = sh(bad);
      expect(o.status).toBe(2);
      expect(o.stderr).toMatch(/^sh: .*\n$/);
    });
  }
  it('survives random text', () => {
    let rng = 12345;
    const next = (n: number): number => { rng = Math.imul(rng, 1103515245) + 12345 >>> 0; return (rng >>> 8) % n; };
    const parts = ['if', 'then', 'fi', ' ', '\n', ';', '"', "'", '$', '(', ')', '{', '}', '|', '&', '<', '>', 'a', 'x=1', '$x', '`', '\\', '*', '[', ']', '#', 'do', 'done', 'for', 'in', 'case', 'esac', ';;', '$((', '))', '!', '~', '${', '=', ':', '0'];
    for (let n = 0; n < 400; n++) {
      let text = '';
      for (let k = 1 + next(14); k > 0; k--) text += parts[next(parts.length)]!;
      if (/while|until/.test(text)) continue;
      const o = system.run(['sh', '-c', text], '');
      expect(o.status, JSON.stringify(text)).toBeGreaterThanOrEqual(0);
    }
  });
});
