package alertmanager

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"text/template"
	"text/template/parse"
)

// checkFields finds fields that a View does not have, in every branch of a template, also in those
// that no sample takes. The template reader itself notices them only when an alert comes by. What
// has a type that only running shows, such as the result of index, is left to the samples.
func checkFields(t *template.Template) error {
	if t.Tree == nil {
		return nil
	}
	if len(t.Templates()) > 1 {
		return fmt.Errorf("define and block are not taken: an annotation is one template")
	}
	view := reflect.TypeFor[View]()
	f := &fieldCheck{tree: t.Tree, variables: map[string]reflect.Type{"$": view}}
	f.node(t.Root, view)
	return f.err
}

// fieldCheck walks one template. A nil type is one that is not known before running.
type fieldCheck struct {
	tree      *parse.Tree
	variables map[string]reflect.Type
	err       error // the first
}

func (f *fieldCheck) node(n parse.Node, dot reflect.Type) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, one := range n.Nodes {
			f.node(one, dot)
		}
	case *parse.ActionNode:
		f.pipe(n.Pipe, dot)
	case *parse.IfNode:
		f.branch(&n.BranchNode, dot, func(reflect.Type) reflect.Type { return dot })
	case *parse.WithNode:
		f.branch(&n.BranchNode, dot, func(of reflect.Type) reflect.Type { return of })
	case *parse.RangeNode:
		f.branch(&n.BranchNode, dot, element)
	case *parse.TemplateNode:
		f.fault(n, "calls another template, and there is none")
	}
}

// branch checks if, with and range: what they look at, and what they do with it.
func (f *fieldCheck) branch(n *parse.BranchNode, dot reflect.Type, inside func(of reflect.Type) reflect.Type) {
	outer := maps.Clone(f.variables)
	of := f.pipe(n.Pipe, dot)
	if n.NodeType == parse.NodeRange {
		for i, v := range n.Pipe.Decl { // of one it is the value, of two the key comes first
			f.variables[v.Ident[0]] = nil
			if i == len(n.Pipe.Decl)-1 {
				f.variables[v.Ident[0]] = element(of)
			}
		}
	}
	f.node(n.List, inside(of))
	f.node(n.ElseList, dot)
	f.variables = outer
}

// element is what range walks over.
func element(of reflect.Type) reflect.Type {
	if of != nil && (of.Kind() == reflect.Slice || of.Kind() == reflect.Map) {
		return of.Elem()
	}
	return nil
}

// pipe checks a pipeline and returns its type.
func (f *fieldCheck) pipe(p *parse.PipeNode, dot reflect.Type) reflect.Type {
	if p == nil {
		return nil
	}
	var last reflect.Type
	for _, command := range p.Cmds {
		last = nil
		for _, argument := range command.Args {
			t := f.argument(argument, dot)
			if len(command.Args) == 1 && len(p.Cmds) == 1 {
				last = t
			}
		}
	}
	for _, v := range p.Decl {
		f.variables[v.Ident[0]] = last
	}
	return last
}

func (f *fieldCheck) argument(n parse.Node, dot reflect.Type) reflect.Type {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot
	case *parse.FieldNode:
		return f.chain(n, dot, n.Ident)
	case *parse.VariableNode:
		return f.chain(n, f.variables[n.Ident[0]], n.Ident[1:])
	case *parse.ChainNode:
		return f.chain(n, f.argument(n.Node, dot), n.Field)
	case *parse.PipeNode:
		return f.pipe(n, dot)
	}
	return nil
}

// chain follows .A.B from a type.
func (f *fieldCheck) chain(n parse.Node, t reflect.Type, names []string) reflect.Type {
	for _, name := range names {
		if t == nil {
			return nil
		}
		if method, ok := t.MethodByName(name); ok {
			t = method.Type.Out(0)
			continue
		}
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			field, ok := t.FieldByName(name)
			if !ok || !field.IsExported() {
				f.fault(n, fmt.Sprintf(".%s is no field here; there are %s", name, strings.Join(fieldsOf(t), ", ")))
				return nil
			}
			t = field.Type
		default:
			f.fault(n, fmt.Sprintf(".%s is no field here, as this is a %s", name, t))
			return nil
		}
	}
	return t
}

func (f *fieldCheck) fault(n parse.Node, what string) {
	if f.err != nil {
		return
	}
	location, _ := f.tree.ErrorContext(n)
	f.err = fmt.Errorf("%s: %s", strings.TrimPrefix(location, "template:"), what)
}

func fieldsOf(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		if field.IsExported() {
			names = append(names, "."+field.Name)
		}
	}
	return names
}
