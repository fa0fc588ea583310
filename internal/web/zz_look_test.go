package web
import ("testing";"os";"net/http/httptest";"github.com/yoyu-sre/yoyu/sinks/sinktest")
func TestLook(t *testing.T){
 s:=New(Options{Version:"1.2"}); r:=sinktest.Report(); r.SLOs=append(r.SLOs, sinktest.Unknown().SLOs...); r.Workloads=append(r.Workloads, sinktest.Unknown().Workloads...)
 if err:=s.Write(t.Context(),r);err!=nil{t.Fatal(err)}
 for n,u:=range map[string]string{"page.html":"/","e.txt":"/explain?slo=checkout-availability","e2.txt":"/explain?slo=carts","e.json":"/explain?slo=checkout-availability&format=json","a.json":"/api/v1/alerts","r.json":"/api/v1/rightsizing"}{
  w:=httptest.NewRecorder(); s.Handler().ServeHTTP(w,httptest.NewRequest("GET",u,nil)); os.WriteFile("/tmp/look/"+n,w.Body.Bytes(),0o644)
 }
}
