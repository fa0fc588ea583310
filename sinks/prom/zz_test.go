package prom
import ("testing";"fmt")
func TestZZ(t *testing.T){
 s:=New(Options{}); r:=benchReports()[0]; s.Write(t.Context(), r)
 p:=s.newest().page(pageKey{compressed:true})
 fmt.Println(len(p.body), p.size)
 // decode tokens
 b:=p.body; pos:=0
 bit:=func(n uint) uint32 { v:=uint32(0); for i:=uint(0);i<n;i++ { v|=uint32(b[pos>>3]>>(pos&7)&1)<<i; pos++}; return v}
 type k struct{c uint32;n uint}
 lits:=map[k]int{}; for i,c:=range codes.literal { lits[k{c.bits,c.count}]=i }


 ls:=map[k]int{}
 for sym:=257;sym<286;sym++{ lo,ex:=lengthOf(sym); c:=codes.length[lo]; ls[k{c.bits&(1<<(c.count-ex)-1),c.count-ex}]=sym }
 ds:=map[k]int{}; for i,c:=range codes.distance { ds[k{c.bits,c.count}]=i }
 pos=len(codes.head)*8+int(codes.headRestCount)
 lc:=map[int]int{}; dc:=map[int]int{}; lb,cb,nl,nc:=0,0,0,0
 for {
  var c k; sym:=-1
  for { c.c|=bit(1)<<c.n;c.n++; if v,ok:=lits[k{c.c,c.n}];ok{sym=v;break}; if v,ok:=ls[k{c.c,c.n}];ok{sym=v;break} ; if c.n>20 {panic(1)}}
  lc[sym]++
  if sym==256 {break}
  if sym<256 { lb+=int(c.n); nl++; continue}
  _,ex:=lengthOf(sym); bit(ex)
  var d k; ds_:=-1
  for { d.c|=bit(1)<<d.n;d.n++; if v,ok:=ds[d];ok{ds_=v;break}}
  dc[ds_]++; bit(distanceExtra(ds_)); cb+=int(c.n+ex+d.n+distanceExtra(ds_)); nc++
 }
 fmt.Println("lit",nl,lb/8,"copy",nc,cb/8)
 for i:=0;i<286;i++{ if lc[i]>200 { if i<256 {fmt.Printf("%q:%d/%d ",rune(i),lc[i],codes.literal[i].count)} else {lo,_:=lengthOf(i);fmt.Printf("L%d:%d ",lo,lc[i])}}}
 fmt.Println(); fmt.Println(dc)
}
